require "minitest/autorun"
require_relative "migrate"

# As Rails' transactional tests do: what a test wrote is rolled back, and with it what the test counted.
class BlogTest < Minitest::Test
  def setup
    connection.begin_transaction(joinable: false)
    @post = Post.create!(id: 7, title: "seven")
  end

  def teardown
    connection.rollback_transaction
  end

  def connection
    ActiveRecord::Base.connection
  end

  def counted(id = 7)
    Post.with_counts.find(id)
  end

  def statements
    seen = []
    note = ->(*, payload) { seen << payload[:sql] unless payload[:name] == "SCHEMA" }
    ActiveSupport::Notifications.subscribed(note, "sql.active_record") { yield }
    seen
  end

  def test_views_are_counted
    2.times { @post.view }
    assert_equal 2, counted.views
  end

  def test_the_query_cache_of_a_request_swallows_no_view
    ActiveRecord::Base.cache { 2.times { @post.view } }
    assert_equal 2, counted.views
  end

  def test_a_view_that_is_rolled_back_never_counted
    @post.view
    Post.transaction(requires_new: true) do
      @post.view
      raise ActiveRecord::Rollback
    end
    assert_equal 1, counted.views
  end

  def test_views_come_in_batches
    counters = %w[post:7 post:8 post:7]
    connection.select_value(Post.sanitize_sql_array(["SELECT counter_incr_many(ARRAY[?])", counters]))
    assert_equal 2, counted.views
  end

  def test_a_page_of_50_posts_is_one_statement
    Post.insert_all((0...50).map { |n| { id: 100 + n, title: n.to_s } })
    Post.where(id: 100..).each { |post| Counting.call("counter_incr", post.counter, post.id) }
    Comment.insert_all((0...50).flat_map { |n| [{ post_id: 100 + n, body: "…" }] * (n % 3) })
    shown = nil
    seen = statements do
      page = Post.with_counts.where(id: 100..).order(:id).limit(50)
      shown = page.map { |post| [post.views, post.likes, post.comments_count] }
    end
    assert_equal (0...50).map { |n| [100 + n, 0, n % 3] }, shown
    assert_equal 1, seen.size, seen.inspect
  end

  def test_a_person_likes_a_post_once
    assert_equal true, @post.like(1)
    assert_equal false, @post.like("1")
    assert_equal true, @post.like(2)
    assert_equal 2, counted.likes
    assert_equal true, Counting.call("counter_liked", @post.counter, 1)
    assert_equal true, @post.unlike(1)
    assert_equal 1, counted.likes
  end

  def test_a_post_that_is_not_saved_counts_nothing
    draft = Post.new(title: "draft")
    assert_raises(ArgumentError) { draft.view }
    assert_raises(ArgumentError) { draft.like(1) }
    assert_raises(ArgumentError) { draft.unlike(1) }
    assert_equal [0, 0], [Counting.call("counter_get", "post:"), Counting.call("counter_likes", "post:")]
  end

  def test_a_post_that_is_not_saved_counts_nothing_under_the_id_it_will_have
    draft = Post.new(id: 7, title: "draft")
    assert_raises(ArgumentError) { draft.view }
    assert_raises(ArgumentError) { draft.like(1) }
    assert_raises(ArgumentError) { draft.unlike(1) }
    assert_raises(ArgumentError) { Post.select(:title).find_by(title: "seven").view }
    assert_equal [0, 0], [counted.views, counted.likes]
  end

  def test_nobody_likes_nothing
    assert_raises(ArgumentError) { @post.like(nil) }
    assert_raises(ArgumentError) { @post.unlike(nil) }
    assert_equal 0, counted.likes
  end

  def test_a_numbered_page_asks_for_the_numbers_of_its_own_posts_only
    Post.insert_all((0...20).map { |n| { id: 100 + n, title: n.to_s } })
    Post.where(id: 100..).each { |post| Counting.call("counter_incr", post.counter, post.id) }
    shown = nil
    seen = statements { shown = Post.where(id: 100..).numbered_page(1, 5).map(&:views) }
    assert_equal [105, 106, 107, 108, 109], shown
    assert_equal 1, seen.size, seen.inspect
    before, within = seen.first.split("IN (SELECT ")
    assert_includes before, "counter_get"
    refute_includes within, "counter_get"
    assert_includes within, "OFFSET"
    counting = statements { assert_equal 20, Post.with_counts.where(id: 100..).count(:all) }
    refute_includes counting.first, "counter_get"
  end

  # Nothing here can be read by the role `reading`, which has no connection: what counts goes elsewhere.
  def test_a_request_that_reads_from_a_replica_counts_on_the_primary
    ActiveRecord::Base.connected_to(role: :reading) do
      assert_raises(ActiveRecord::ConnectionNotEstablished) { counted }
      @post.view
      assert_equal true, @post.like(1)
      assert_equal true, @post.unlike(1)
    end
    assert_equal 1, counted.views
  end

  def test_comments_are_counted_whatever_writes_them
    other = Post.create!(id: 8, title: "eight")
    comment = @post.comments.create!(body: "one")
    Comment.insert_all([{ post_id: 7, body: "two" }, { post_id: 8, body: "three" }])
    assert_equal 2, counted.comments_count
    assert_equal 2, @post.comments_count
    comment.update_columns(post_id: 8)
    assert_equal [1, 2], [@post.comments_count, other.comments_count]
    Comment.where(post_id: 8, body: "one").delete_all
    assert_equal 1, other.comments_count
    other.delete
    assert_equal 0, other.comments_count
  end

  def test_to_migrate_back_leaves_the_counters
    @post.view
    CountComments.migrate(:down)
    assert_equal 1, Counting.call("counter_get", "post:7")
    CountComments.migrate(:up)
    assert_equal 1, counted.views
  end

  def count_from_nothing
    assert_equal [0, 0, 0], numbers(counted)
    @post.view
    @post.like(1)
    @post.comments.create!(body: "one")
    assert_equal [1, 1, 1], numbers(counted)
  end

  def numbers(post)
    [post.views, post.likes, post.comments_count]
  end

  def test_counts_from_nothing
    count_from_nothing
  end

  def test_counts_from_nothing_again
    count_from_nothing
  end
end
