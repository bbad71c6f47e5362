from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("blog", "0001_initial")]
    operations = [
        # Not CreateExtension: backwards that drops the extension, and with it all counters of the database.
        migrations.RunSQL("CREATE EXTENSION IF NOT EXISTS counter_ext", migrations.RunSQL.noop),
        migrations.RunSQL(
            "SELECT counter_cache('blog_comment', 'comments:', 'post_id')",
            "SELECT counter_uncache('blog_comment', 'comments:')",
        ),
    ]
