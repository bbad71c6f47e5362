require_relative "database"

fixtures = {
  "posts" => [{ "id" => 7, "title" => "seven" }],
  "comments" => [{ "id" => 1, "post_id" => 7 }, { "id" => 2, "post_id" => 7 }],
}
ActiveRecord::Base.connection.insert_fixtures_set(fixtures, fixtures.keys)
