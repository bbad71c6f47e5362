import unittest

from blog import COMMENTS, LIKES, VIEWS, Comment, Post, install, like, posts_with_counts, unlike, view, view_many
from sqlalchemy import __version__ as version
from sqlalchemy import create_engine, delete, event, func, select, update
from sqlalchemy.orm import Session

engine = create_engine("postgresql+psycopg2://", future=True)


def setUpModule():
    with engine.begin() as connection:
        install(connection)


def session_within(connection):
    """A session whose commits and rollbacks are of savepoints, so that none of them ends the connection's own transaction."""
    if version >= "2":
        return Session(bind=connection, join_transaction_mode="create_savepoint")
    session = Session(bind=connection, future=True)
    savepoint = connection.begin_nested()

    @event.listens_for(session, "after_transaction_end")
    def go_on(*_):
        nonlocal savepoint
        if not savepoint.is_active:
            savepoint = connection.begin_nested()

    return session


class BlogTest(unittest.TestCase):
    """Each test has one transaction, whatever its session commits or rolls back; its end rolls it back, and what it counted."""

    def setUp(self):
        self.connection = engine.connect()
        self.addCleanup(self.connection.close)
        transaction = self.connection.begin()
        self.addCleanup(transaction.rollback)
        self.session = session_within(self.connection)
        self.addCleanup(self.session.close)
        self.post = Post(id=7, title="seven")
        self.session.add(self.post)
        self.session.commit()

    def counted(self, column, post_id=7):
        return self.session.execute(select(column).where(Post.id == post_id)).scalar_one()

    def test_views_are_counted(self):
        view(self.session, self.post)
        view(self.session, self.post)
        self.assertEqual(self.counted(VIEWS), 2)

    def test_a_view_that_is_rolled_back_never_counted(self):
        view(self.session, self.post)
        with self.assertRaises(ZeroDivisionError), self.session.begin_nested():
            view(self.session, self.post)
            1 / 0
        self.assertEqual(self.counted(VIEWS), 1)

    def test_views_come_in_batches(self):
        view_many(self.session, ["post:7", "post:8", "post:7"])
        self.assertEqual(self.counted(VIEWS), 2)

    def test_a_page_of_50_posts_is_one_statement(self):
        self.session.add_all(Post(id=100 + n, title=str(n)) for n in range(50))
        self.session.flush()
        for n in range(50):
            self.session.execute(select(func.counter_incr(f"post:{100 + n}", 100 + n)))
        self.session.add_all(Comment(post_id=100 + n, body="…") for n in range(50) for _ in range(n % 3))
        self.session.flush()
        self.session.expunge_all()
        statements = []
        event.listen(self.connection, "before_cursor_execute", lambda *event: statements.append(event[2]))
        page = posts_with_counts().where(Post.id >= 100).order_by(Post.id).limit(50)
        shown = [(row.Post.title, row.views, row.likes, row.comments) for row in self.session.execute(page)]
        self.assertEqual(shown, [(str(n), 100 + n, 0, n % 3) for n in range(50)])
        self.assertEqual(len(statements), 1, statements)

    def test_the_most_viewed_come_first(self):
        other = Post(id=8, title="eight")
        self.session.add(other)
        self.session.flush()
        view(self.session, other)
        rows = self.session.execute(posts_with_counts().order_by(VIEWS.desc())).scalars().all()
        self.assertEqual(rows, [other, self.post])

    def test_a_person_likes_a_post_once(self):
        self.assertTrue(like(self.session, self.post, 1))
        self.assertFalse(like(self.session, self.post, 1))
        self.assertTrue(like(self.session, self.post, 2))
        self.assertEqual(self.counted(LIKES), 2)
        self.assertTrue(self.session.execute(select(func.counter_liked("post:7", 1))).scalar_one())
        self.assertTrue(unlike(self.session, self.post, 1))
        self.assertEqual(self.counted(LIKES), 1)

    def test_a_post_that_is_not_flushed_counts_nothing_under_the_id_it_will_have(self):
        for use in (view, lambda *of: like(*of, 1), lambda *of: unlike(*of, 1)):
            with self.assertRaises(ValueError):
                use(self.session, Post(id=7, title="draft"))
        self.assertEqual([self.counted(VIEWS), self.counted(LIKES)], [0, 0])

    def test_nobody_likes_nothing(self):
        for use in (like, unlike):
            with self.assertRaises(ValueError):
                use(self.session, self.post, None)
        self.assertEqual(self.counted(LIKES), 0)

    def test_a_post_that_is_not_flushed_counts_nothing(self):
        draft = Post(title="draft")
        for use in (view, lambda *of: like(*of, 1), lambda *of: unlike(*of, 1)):
            with self.assertRaises(ValueError):
                use(self.session, draft)
        self.assertEqual(self.session.execute(select(func.counter_get("post:None"))).scalar_one(), 0)
        self.assertEqual(self.session.execute(select(func.counter_likes("post:None"))).scalar_one(), 0)
        self.session.add(draft)
        self.session.flush()
        view(self.session, draft)
        self.assertEqual(self.counted(VIEWS, draft.id), 1)

    def test_comments_are_counted_whatever_writes_them(self):
        self.session.add_all([Post(id=8, title="eight"), Comment(id=1, post_id=7, body="one")])
        self.session.flush()
        self.session.bulk_insert_mappings(Comment, [{"post_id": 7, "body": "two"}, {"post_id": 8, "body": "three"}])
        self.assertEqual(self.counted(COMMENTS), 2)
        self.session.execute(update(Comment).where(Comment.id == 1).values(post_id=8))
        self.assertEqual(self.counted(COMMENTS), 1)
        self.assertEqual(self.counted(COMMENTS, 8), 2)
        self.session.execute(delete(Comment).where(Comment.id == 1))
        self.assertEqual(self.counted(COMMENTS, 8), 1)
        self.session.execute(delete(Post).where(Post.id == 8))
        self.assertEqual(self.session.execute(select(func.counter_get("comments:8"))).scalar_one(), 0)

    def roll_back_and_go_on(self):
        self.assertEqual([self.counted(column) for column in (VIEWS, LIKES, COMMENTS)], [0, 0, 0])
        view(self.session, self.post)
        self.session.rollback()
        self.session.add(Comment(post_id=7, body="one"))
        view(self.session, self.post)
        self.session.commit()
        self.assertEqual([self.counted(column) for column in (VIEWS, LIKES, COMMENTS)], [1, 0, 1])

    def test_what_rolls_back_and_goes_on_leaves_nothing(self):
        self.roll_back_and_go_on()

    def test_what_rolls_back_and_goes_on_leaves_nothing_again(self):
        self.roll_back_and_go_on()

    def count_from_nothing(self):
        self.assertEqual([self.counted(column) for column in (VIEWS, LIKES, COMMENTS)], [0, 0, 0])
        view(self.session, self.post)
        like(self.session, self.post, 1)
        self.session.add(Comment(post_id=7, body="one"))
        self.session.commit()
        self.assertEqual([self.counted(column) for column in (VIEWS, LIKES, COMMENTS)], [1, 1, 1])

    def test_counts_from_nothing(self):
        self.count_from_nothing()

    def test_counts_from_nothing_again(self):
        self.count_from_nothing()


if __name__ == "__main__":
    unittest.main()
