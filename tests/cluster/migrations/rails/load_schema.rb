require_relative "database"

DATABASE_TASKS.load_schema(CONFIGURATION, :ruby, File.expand_path("schema.rb"))
