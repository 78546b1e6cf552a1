"""ended"""

from alembic import op
import sqlalchemy as sa

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None

NAME, TABLE = 'ix_hold_journal_ended_at', 'hold_journal'


def upgrade() -> None:
    op.execute("SET lock_timeout = '2s'")
    op.drop_index(NAME, table_name=TABLE)
    op.create_index(
        NAME, TABLE, ['ended_at'], unique=False,
        postgresql_where=sa.text("state IN ('RELEASED', 'EXPIRED', 'ABORTED')"))


def downgrade() -> None:
    op.drop_index(NAME, table_name=TABLE)
    op.create_index(NAME, TABLE, ['ended_at'], unique=False, postgresql_where=sa.text('ended_at IS NOT NULL'))
