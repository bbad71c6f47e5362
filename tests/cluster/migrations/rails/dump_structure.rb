require_relative "database"

DATABASE_TASKS.structure_dump(CONFIGURATION, "structure.sql")
