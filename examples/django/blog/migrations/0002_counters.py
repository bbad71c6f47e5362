from django.contrib.postgres.operations import CreateExtension
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("blog", "0001_initial")]
    operations = [
        CreateExtension("counter_ext"),
        migrations.RunSQL(
            "SELECT counter_cache('blog_comment', 'comments:', 'post_id')",
            "SELECT counter_uncache('blog_comment', 'comments:')",
        ),
    ]
