from django.db import models


class Post(models.Model):
    title = models.TextField()

    class Meta:
        db_table = "posts"


class Comment(models.Model):
    post = models.ForeignKey(Post, on_delete=models.CASCADE)
    body = models.TextField(null=True)

    class Meta:
        db_table = "comments"
