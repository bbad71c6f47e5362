require_relative "database"

File.open("schema.rb", "w") { |file| ActiveRecord::SchemaDumper.dump(ActiveRecord::Base.connection, file) }
