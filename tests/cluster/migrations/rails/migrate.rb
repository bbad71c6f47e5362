require_relative "database"

ActiveRecord::MigrationContext.new("migrate", ActiveRecord::SchemaMigration).migrate
