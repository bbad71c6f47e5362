from django.core.management import call_command
from django.core.paginator import Paginator
from django.db import connection, transaction
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from .models import Comment, Post, call


class PostTest(TestCase):
    """TestCase rolls back what a test wrote, and with it what the test counted."""

    def setUp(self):
        self.post = Post.objects.create(id=7, title="seven")

    def counted(self, post=None):
        return Post.objects.with_counts().get(pk=(post or self.post).pk)

    def test_views_are_counted(self):
        self.post.view()
        self.post.view()
        self.assertEqual(self.counted().views, 2)

    def test_a_view_that_is_rolled_back_never_counted(self):
        self.post.view()
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            self.post.view()
            1 / 0
        self.assertEqual(self.counted().views, 1)

    def test_views_come_in_batches(self):
        call("counter_incr_many", ["post:7", "post:8", "post:7"])
        self.assertEqual(self.counted().views, 2)

    def test_a_page_of_50_posts_is_one_statement(self):
        Post.objects.bulk_create(Post(id=100 + n, title=str(n)) for n in range(50))
        for post in Post.objects.filter(id__gte=100):
            call("counter_incr", post.counter, post.id)
        Comment.objects.bulk_create(Comment(post_id=100 + n, body="…") for n in range(50) for _ in range(n % 3))
        with self.assertNumQueries(1):
            page = list(Post.objects.with_counts().filter(id__gte=100).order_by("id")[:50])
            shown = [(post.views, post.likes, post.comments_count) for post in page]
        self.assertEqual(shown, [(100 + n, 0, n % 3) for n in range(50)])

    def test_the_most_viewed_come_first(self):
        other = Post.objects.create(id=8, title="eight")
        other.view()
        self.assertEqual(list(Post.objects.with_counts().order_by("-views")), [other, self.post])

    def test_a_person_likes_a_post_once(self):
        self.assertTrue(self.post.like(1))
        self.assertFalse(self.post.like(1))
        self.assertTrue(self.post.like(2))
        self.assertEqual(self.counted().likes, 2)
        self.assertTrue(call("counter_liked", self.post.counter, 1))
        self.assertTrue(self.post.unlike(1))
        self.assertEqual(self.counted().likes, 1)

    def test_a_post_that_is_not_saved_counts_nothing(self):
        for use in (Post.view, lambda post: post.like(1), lambda post: post.unlike(1)):
            with self.assertRaises(ValueError):
                use(Post(title="draft"))
        self.assertEqual([call("counter_get", id) for id in ("post:None", "post:")], [0, 0])
        self.assertEqual(call("counter_likes", "post:None"), 0)

    def test_a_post_that_is_not_saved_counts_nothing_under_the_key_it_will_have(self):
        for use in (Post.view, lambda post: post.like(1), lambda post: post.unlike(1)):
            with self.assertRaises(ValueError):
                use(Post(id=7, title="draft"))
        counted = self.counted()
        self.assertEqual((counted.views, counted.likes), (0, 0))
        self.post.delete()
        with self.assertRaises(ValueError):
            self.post.view()

    def test_nobody_likes_nothing(self):
        for use in (self.post.like, self.post.unlike):
            with self.assertRaises(ValueError):
                use(None)
        self.assertEqual(self.counted().likes, 0)

    def test_pages_ask_for_the_numbers_of_their_own_posts_only(self):
        Post.objects.bulk_create(Post(id=100 + n, title=str(n)) for n in range(20))
        for post in Post.objects.filter(id__gte=100):
            call("counter_incr", post.counter, post.id)
        paginator = Paginator(Post.objects.filter(id__gte=100).order_by("-id"), 5)
        with CaptureQueriesContext(connection) as queries:
            page = paginator.page(2).object_list.with_counts()
            shown = [post.views for post in page]
        self.assertEqual(shown, [114, 113, 112, 111, 110])
        counting, reading = (query["sql"] for query in queries)
        self.assertNotIn("counter_get", counting)
        before, within = reading.split(" IN (SELECT ")
        self.assertIn("counter_get", before)
        self.assertNotIn("counter_get", within)
        self.assertIn("OFFSET 5", within)

    def test_to_migrate_back_leaves_the_counters(self):
        self.post.view()
        call_command("migrate", "blog", "0001", verbosity=0)
        self.assertEqual(call("counter_get", "post:7"), 1)
        call_command("migrate", "blog", verbosity=0)
        self.assertEqual(self.counted().views, 1)

    def test_comments_are_counted_whatever_writes_them(self):
        other = Post.objects.create(id=8, title="eight")
        comment = Comment.objects.create(post=self.post, body="one")
        Comment.objects.bulk_create([Comment(post=self.post, body="two"), Comment(post=other, body="three")])
        self.assertEqual(self.counted().comments_count, 2)
        Comment.objects.filter(pk=comment.pk).update(post=other)
        self.assertEqual(self.counted().comments_count, 1)
        self.assertEqual(self.counted(other).comments_count, 2)
        comment.delete()
        self.assertEqual(self.counted(other).comments_count, 1)
        other.delete()
        self.assertEqual(call("counter_get", "comments:8"), 0)


class IsolationTest(TestCase):
    """Both tests count the same; whichever comes second finds nothing of the first."""

    def count_from_nothing(self):
        self.assertEqual(call("counter_get", "post:7"), 0)
        self.assertEqual(call("counter_likes", "post:7"), 0)
        self.assertEqual(call("counter_get", "comments:7"), 0)
        post = Post.objects.create(id=7, title="seven")
        post.view()
        post.like(1)
        Comment.objects.create(post=post, body="one")
        counted = Post.objects.with_counts().get()
        self.assertEqual((counted.views, counted.likes, counted.comments_count), (1, 1, 1))

    def test_counts_from_nothing(self):
        self.count_from_nothing()

    def test_counts_from_nothing_again(self):
        self.count_from_nothing()
