"""A blog whose views, likes and comments are counted by counter_ext."""

from django.db import connection, models
from django.db.models import BigIntegerField, F, Func, TextField, Value
from django.db.models.functions import Concat


def call(function, *arguments):
    """The answer of one of the extension's functions. Ids and people may be strings, integers or UUIDs."""
    places = ", ".join(["%s"] * len(arguments))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}({places})", arguments)
        return cursor.fetchone()[0]


def somebody(user_id):
    """Who is not logged in has no key, and to the extension nobody's like is NULL, which looks like one that was there."""
    if user_id is None:
        raise ValueError("a like is somebody's")
    return user_id


def per_row(function, prefix):
    """For annotate(): the answer for the counter that is named by the prefix and the row's own id."""
    name = Concat(Value(prefix), F("id"), output_field=TextField())
    return Func(name, function=function, output_field=BigIntegerField())


class PostQuerySet(models.QuerySet):
    def with_counts(self):
        """Posts with their numbers, all in the one statement that reads the posts.

        To pass by posts with OFFSET reads their numbers too, so a slice takes its posts first and then their numbers.
        """
        posts = self
        if self.query.is_sliced:
            posts = self.model.objects.filter(pk__in=self.values("pk")).order_by(*self.query.order_by)
        return posts.annotate(
            views=per_row("counter_get", "post:"),
            likes=per_row("counter_likes", "post:"),
            comments_count=per_row("counter_get", "comments:"),
        )


class Post(models.Model):
    title = models.TextField()

    objects = PostQuerySet.as_manager()

    @property
    def counter(self):
        """A post that is not saved has none: without a key all would share one, and with a key it may never be saved."""
        if self._state.adding or self.pk is None:
            raise ValueError("a post has to be saved before it is counted")
        return f"post:{self.pk}"

    def view(self):
        """Waits for no other viewer, so it may be in the transaction of the request."""
        call("counter_incr", self.counter)

    def like(self, user_id):
        """Whether this call made the like; a second click makes none."""
        return call("counter_like", self.counter, somebody(user_id))

    def unlike(self, user_id):
        return call("counter_unlike", self.counter, somebody(user_id))


class Comment(models.Model):
    """The cache "comments:", which a migration makes, counts the comments of each post as they come and go."""

    post = models.ForeignKey(Post, on_delete=models.CASCADE)
    body = models.TextField()
