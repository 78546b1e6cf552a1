"""connections"""

from alembic import op
import sqlalchemy as sa

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET lock_timeout = '2s'")
    op.create_table('minimum_connection_times',
    sa.Column('station', sa.String(length=3), nullable=False),
    sa.Column('minutes', sa.Integer(), nullable=False),
    sa.CheckConstraint('minutes >= 0 AND minutes <= 1440', name=op.f('ck_minimum_connection_times_a_day_at_most')),
    sa.PrimaryKeyConstraint('station', name=op.f('pk_minimum_connection_times'))
    )
    op.create_index('ix_flights_departures', 'flights', ['origin', 'departure_date'], unique=False)


def downgrade() -> None:
    op.drop_index('ix_flights_departures', table_name='flights')
    op.drop_table('minimum_connection_times')
