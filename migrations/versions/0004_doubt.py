"""doubt"""

from alembic import op
import sqlalchemy as sa

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET lock_timeout = '2s'")
    op.add_column('epoch_gate', sa.Column('away_since', sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column('epoch_gate', 'away_since')
