from sqlalchemy import BigInteger, Column, ForeignKey, Text
from sqlalchemy.dialects.postgresql import base
from sqlalchemy.orm import declarative_base
from sqlalchemy.types import UserDefinedType

Base = declarative_base()


class Counter(UserDefinedType):
    cache_ok = True

    def get_col_spec(self, **kw):
        return "counter"


base.ischema_names["counter"] = Counter


class Post(Base):
    __tablename__ = "posts"
    id = Column(BigInteger, primary_key=True)
    title = Column(Text, nullable=False)
    views = Column(Counter())


class Comment(Base):
    __tablename__ = "comments"
    id = Column(BigInteger, primary_key=True)
    post_id = Column(BigInteger, ForeignKey("posts.id"), nullable=False, index=True)
    body = Column(Text)
