"""A blog whose views, likes and comments are counted by counter_ext. For SQLAlchemy 1.4 and 2."""

from sqlalchemy import BigInteger, Column, ForeignKey, Text, cast, func, inspect, literal, select, text
from sqlalchemy.orm import declarative_base

Base = declarative_base()


class Post(Base):
    __tablename__ = "posts"
    id = Column(BigInteger, primary_key=True)
    title = Column(Text, nullable=False)

    @property
    def counter(self):
        """A post that is not flushed has none: without an id all would share one, and with an id it may never be saved."""
        if not inspect(self).has_identity:
            raise ValueError("a post has to be flushed before it is counted")
        return f"post:{self.id}"


class Comment(Base):
    """The cache "comments:" counts the comments of each post as they come and go."""

    __tablename__ = "comments"
    id = Column(BigInteger, primary_key=True)
    post_id = Column(BigInteger, ForeignKey("posts.id", ondelete="CASCADE"), nullable=False, index=True)
    body = Column(Text, nullable=False)


def install(connection):
    """What the application's first migrations do."""
    connection.execute(text("CREATE EXTENSION IF NOT EXISTS counter_ext"))
    Base.metadata.create_all(connection)
    connection.execute(text("SELECT counter_cache('comments', 'comments:', 'post_id')"))


def view(session, post):
    """Waits for no other viewer, so it may be in the transaction of the request. That has to commit, also where it only reads."""
    session.execute(select(func.counter_incr(post.counter)))


def view_many(session, counters):
    """One statement for all views that were gathered; an id may be there several times."""
    session.execute(select(func.counter_incr_many(counters)))


def somebody(user_id):
    """To the extension nobody's like is NULL, which looks like one that was there."""
    if user_id is None:
        raise ValueError("a like is somebody's")
    return user_id


def like(session, post, user_id):
    """Whether this call made the like; a second click makes none."""
    return session.execute(select(func.counter_like(post.counter, somebody(user_id)))).scalar_one()


def unlike(session, post, user_id):
    return session.execute(select(func.counter_unlike(post.counter, somebody(user_id)))).scalar_one()


def of_post(function, prefix):
    """The function's answer for the counter that is named by the prefix and the post's id, as a column."""
    return function(literal(prefix) + cast(Post.id, Text), type_=BigInteger)


VIEWS = of_post(func.counter_get, "post:").label("views")
LIKES = of_post(func.counter_likes, "post:").label("likes")
COMMENTS = of_post(func.counter_get, "comments:").label("comments")


def posts_with_counts():
    """Rows of a post and its numbers, all in the one statement that reads the posts."""
    return select(Post, VIEWS, LIKES, COMMENTS)
