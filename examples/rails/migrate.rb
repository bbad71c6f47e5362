require_relative "blog"

# An application has each of these in a file of its own below db/migrate.
class MakeTables < ActiveRecord::Migration[6.1]
  def change
    create_table(:posts) { |t| t.text :title, null: false }
    create_table(:comments) do |t|
      t.references :post, null: false, foreign_key: { on_delete: :cascade }
      t.text :body, null: false
    end
  end
end

class CountComments < ActiveRecord::Migration[6.1]
  def up
    enable_extension "counter_ext"
    execute "SELECT counter_cache('comments', 'comments:', 'post_id')"
  end

  # Without disable_extension, as which `change` would reverse the above: it drops all counters of the database.
  def down
    execute "SELECT counter_uncache('comments', 'comments:')"
  end
end

ActiveRecord::Migration.verbose = false
[MakeTables, CountComments].each { |migration| migration.migrate(:up) }
