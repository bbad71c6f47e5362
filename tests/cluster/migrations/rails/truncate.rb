require_relative "database"

ActiveRecord::Base.connection.truncate_tables("posts", "comments")
