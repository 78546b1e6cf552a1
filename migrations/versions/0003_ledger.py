"""ledger"""

from alembic import op
import sqlalchemy as sa

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET lock_timeout = '2s'")
    op.add_column('hold_journal', sa.Column('extended_at', sa.DateTime(timezone=True), nullable=True))
    for place in range(6):
        flight = f'((lines -> {place}) ->> 0)'
        op.create_index(
            f'ix_hold_journal_flight_{place}', 'hold_journal', [sa.text(flight)], unique=False,
            postgresql_where=sa.text(f'{flight} IS NOT NULL'))
    op.execute("CREATE INDEX ix_inventory_loose ON inventory (flight_id, cabin) WHERE ceilings <> limits")


def downgrade() -> None:
    op.execute("DROP INDEX ix_inventory_loose")
    for place in range(6):
        op.drop_index(f'ix_hold_journal_flight_{place}', table_name='hold_journal')
    op.drop_column('hold_journal', 'extended_at')
