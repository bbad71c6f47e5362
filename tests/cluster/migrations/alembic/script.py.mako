revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
from alembic import op
import sqlalchemy as sa
import models
${imports if imports else ""}

def upgrade():
    ${upgrades if upgrades else "pass"}
