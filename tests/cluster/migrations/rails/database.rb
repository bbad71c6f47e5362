require "active_record"

ActiveRecord::Base.establish_connection(adapter: "postgresql", database: ENV.fetch("PGDATABASE"))
CONFIGURATION = ActiveRecord::Base.connection_db_config
DATABASE_TASKS = ActiveRecord::Tasks::DatabaseTasks
