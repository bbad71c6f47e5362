require "active_record"

# A blog whose views, likes and comments are counted by counter_ext.
# One handler for the connections of all roles. ActiveRecord 6.1 by itself has to be told; an application's `config.load_defaults 6.1` does it.
ActiveRecord::Base.legacy_connection_handling = false if ActiveRecord.version < Gem::Version.new("7.0")
ActiveRecord::Base.establish_connection(adapter: "postgresql", database: ENV.fetch("PGDATABASE", "blog"))

module Counting
  # The answer of one of the extension's functions. Ids and people may be strings or integers.
  def self.call(function, *arguments)
    places = (["?"] * arguments.size).join(", ")
    sql = ActiveRecord::Base.sanitize_sql_array(["SELECT #{function}(#{places})", *arguments])
    # Past the query cache of a request: the second call counts as well.
    ActiveRecord::Base.uncached { ActiveRecord::Base.connection.select_value(sql) }
  end

  # The same on the primary, also within a request that reads from a replica, which refuses to count.
  def self.write(function, *arguments)
    ActiveRecord::Base.connected_to(role: :writing) { call(function, *arguments) }
  end
end

class Post < ActiveRecord::Base
  has_many :comments

  # Posts with their numbers, all in the one statement that reads the posts.
  scope :with_counts, -> {
    select("posts.*",
           "counter_get('post:' || posts.id) AS views",
           "counter_likes('post:' || posts.id) AS likes",
           "counter_get('comments:' || posts.id) AS comments_count")
  }

  # Pages from 0 on. OFFSET reads the numbers of what it passes, so it passes ids alone.
  scope :numbered_page, ->(number, length = 50) {
    ids = order(:id).offset(number * length).limit(length).select(:id)
    unscoped.with_counts.where(id: ids).order(:id)
  }

  # A post that is not saved has none: without an id all would share one, and with an id it may never be saved. Nor has one whose id was not selected.
  def counter
    raise ArgumentError, "a post has to be saved before it is counted" if new_record? || id.nil?
    "post:#{id}"
  end

  # Waits for no other viewer, so it may be in the transaction of the request.
  def view
    Counting.write("counter_incr", counter)
  end

  # Whether this call made the like; a second click makes none.
  def like(user_id)
    Counting.write("counter_like", counter, somebody(user_id))
  end

  def unlike(user_id)
    Counting.write("counter_unlike", counter, somebody(user_id))
  end

  # What `belongs_to :post, counter_cache: true` would keep in a column that writers queue behind. with_counts
  # has read it already; else it is asked for.
  def comments_count
    self[:comments_count] || Counting.call("counter_get", "comments:#{id}")
  end

  private

  # Who is not logged in has no id, and to the extension nobody's like is NULL, which looks like one that was there.
  def somebody(user_id)
    raise ArgumentError, "a like is somebody's" if user_id.nil?
    user_id
  end
end

class Comment < ActiveRecord::Base
  # Without counter_cache: the cache "comments:", which a migration makes, sees delete_all and insert_all as well.
  belongs_to :post
end
