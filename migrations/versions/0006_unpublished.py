"""unpublished"""

from alembic import op
import sqlalchemy as sa

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None

NAME, TABLE = 'ix_outbox_unpublished', 'outbox'
WHERE = sa.text('position IS NOT NULL AND published_at IS NULL')


def upgrade() -> None:
    op.execute("SET lock_timeout = '2s'")
    op.drop_index(NAME, table_name=TABLE)
    op.create_index(NAME, TABLE, ['published_at', 'position'], unique=False, postgresql_where=WHERE)


def downgrade() -> None:
    op.drop_index(NAME, table_name=TABLE)
    op.create_index(NAME, TABLE, ['position'], unique=False, postgresql_where=WHERE)
