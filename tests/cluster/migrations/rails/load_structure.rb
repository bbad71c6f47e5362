require_relative "database"

DATABASE_TASKS.load_schema(CONFIGURATION, :sql, File.expand_path("structure.sql"))
