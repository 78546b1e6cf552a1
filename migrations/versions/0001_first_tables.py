"""first tables"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET lock_timeout = '2s'")
    op.create_table('bookings',
    sa.Column('booking_id', sa.String(length=40, collation='C'), nullable=False),
    sa.Column('tenant_id', sa.String(length=64, collation='C'), nullable=False),
    sa.Column('hold_id', sa.String(length=40, collation='C'), nullable=False),
    sa.Column('record_locator', sa.String(length=6, collation='C'), nullable=False),
    sa.Column('status', sa.String(length=10), nullable=False),
    sa.Column('lines', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('segments', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('price', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('contact_email', sa.String(length=320), nullable=False),
    sa.Column('contact_phone', sa.String(length=32), nullable=False),
    sa.Column('payment_reference', sa.String(length=255), nullable=False),
    sa.Column('payment_minor', sa.BigInteger(), nullable=False),
    sa.Column('payment_currency', sa.String(length=3), nullable=False),
    sa.Column('client_reference', sa.String(length=64), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('cancelled_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('version', sa.Integer(), server_default='1', nullable=False),
    sa.CheckConstraint("status IN ('confirmed', 'cancelled')", name=op.f('ck_bookings_known_status')),
    sa.PrimaryKeyConstraint('booking_id', name=op.f('pk_bookings')),
    sa.UniqueConstraint('hold_id', name=op.f('uq_bookings_hold_id')),
    sa.UniqueConstraint('record_locator', name=op.f('uq_bookings_record_locator'))
    )
    op.create_index('uq_bookings_client_reference', 'bookings', ['tenant_id', 'client_reference'], unique=True, postgresql_where=sa.text('client_reference IS NOT NULL'))
    op.create_table('epoch_gate',
    sa.Column('shard', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('closing_until', sa.DateTime(timezone=True), nullable=False),
    sa.Column('rebuilder', sa.String(length=64), nullable=True),
    sa.Column('rebuilder_until', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('shard', name=op.f('pk_epoch_gate'))
    )
    op.create_table('flights',
    sa.Column('flight_id', sa.String(length=64, collation='C'), nullable=False),
    sa.Column('carrier', sa.String(length=2), nullable=False),
    sa.Column('flight_number', sa.String(length=5), nullable=False),
    sa.Column('origin', sa.String(length=3), nullable=False),
    sa.Column('destination', sa.String(length=3), nullable=False),
    sa.Column('departure_date', sa.Date(), nullable=False),
    sa.Column('departing_local', sa.DateTime(), nullable=False),
    sa.Column('departing_time_zone', sa.String(length=64), nullable=False),
    sa.Column('departing_utc', sa.DateTime(timezone=True), nullable=False),
    sa.Column('arriving_local', sa.DateTime(), nullable=False),
    sa.Column('arriving_time_zone', sa.String(length=64), nullable=False),
    sa.Column('arriving_utc', sa.DateTime(timezone=True), nullable=False),
    sa.Column('version', sa.Integer(), server_default='1', nullable=False),
    sa.Column('event_sequence', sa.Integer(), server_default='0', nullable=False),
    sa.PrimaryKeyConstraint('flight_id', name=op.f('pk_flights'))
    )
    op.create_index('ix_flights_market', 'flights', ['origin', 'destination', 'departure_date'], unique=False)
    op.create_table('hold_journal',
    sa.Column('hold_id', sa.String(length=40, collation='C'), nullable=False),
    sa.Column('tenant_id', sa.String(length=64, collation='C'), nullable=False),
    sa.Column('idempotency_key', sa.String(length=255), nullable=False),
    sa.Column('attempt', sa.Integer(), nullable=False),
    sa.Column('request_hash', sa.String(length=64), nullable=False),
    sa.Column('client_reference', sa.String(length=64), nullable=True),
    sa.Column('lines', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('segments', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('passengers', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('price', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('epoch', sa.BigInteger(), nullable=False),
    sa.Column('granted_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('first_expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('extensions_used', sa.Integer(), server_default='0', nullable=False),
    sa.Column('fence', sa.Integer(), server_default='1', nullable=False),
    sa.Column('state', sa.String(length=10), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("state IN ('HELD', 'CONFIRMED', 'RELEASED', 'EXPIRED', 'ABORTED')", name=op.f('ck_hold_journal_known_state')),
    sa.PrimaryKeyConstraint('hold_id', name=op.f('pk_hold_journal'))
    )
    op.create_index('ix_hold_journal_ended_at', 'hold_journal', ['ended_at'], unique=False, postgresql_where=sa.text('ended_at IS NOT NULL'))
    op.create_index('ix_hold_journal_granted_at', 'hold_journal', ['granted_at'], unique=False)
    op.create_index('ix_hold_journal_held', 'hold_journal', ['hold_id'], unique=False, postgresql_where=sa.text("state = 'HELD'"))
    op.create_index('ix_hold_journal_tenant_newest', 'hold_journal', ['tenant_id', sa.literal_column('granted_at DESC'), sa.literal_column('hold_id DESC')], unique=False)
    op.create_table('idempotency_records',
    sa.Column('tenant_id', sa.String(length=64, collation='C'), nullable=False),
    sa.Column('route', sa.String(length=32, collation='C'), nullable=False),
    sa.Column('idempotency_key', sa.String(length=255, collation='C'), nullable=False),
    sa.Column('request_hash', sa.String(length=64), nullable=False),
    sa.Column('subject_id', sa.String(length=64), nullable=False),
    sa.Column('facts', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('tenant_id', 'route', 'idempotency_key', name=op.f('pk_idempotency_records'))
    )
    op.create_index('ix_idempotency_records_expires_at', 'idempotency_records', ['expires_at'], unique=False)
    op.create_table('outbox',
    sa.Column('event_id', sa.String(length=40, collation='C'), nullable=False),
    sa.Column('type', sa.String(length=64), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('tenant_id', sa.String(length=64, collation='C'), nullable=True),
    sa.Column('aggregate_type', sa.String(length=16, collation='C'), nullable=False),
    sa.Column('aggregate_id', sa.String(length=64, collation='C'), nullable=False),
    sa.Column('sequence', sa.Integer(), nullable=False),
    sa.Column('occurred_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('data', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('position', sa.BigInteger(), nullable=True),
    sa.Column('published_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('attempts', sa.Integer(), server_default='0', nullable=False),
    sa.Column('retry_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('event_id', name=op.f('pk_outbox'))
    )
    op.create_index('ix_outbox_tenant', 'outbox', ['tenant_id', 'position'], unique=False)
    op.create_index('ix_outbox_unnumbered', 'outbox', ['occurred_at', 'sequence'], unique=False, postgresql_where=sa.text('position IS NULL'))
    op.create_index('ix_outbox_unpublished', 'outbox', ['position'], unique=False, postgresql_where=sa.text('position IS NOT NULL AND published_at IS NULL'))
    op.create_index('uq_outbox_position', 'outbox', ['position'], unique=True, postgresql_where=sa.text('position IS NOT NULL'))
    op.create_index('uq_outbox_sequence', 'outbox', ['aggregate_type', 'aggregate_id', 'sequence'], unique=True)
    op.create_table('outbox_head',
    sa.Column('shard', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('last_position', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('shard', name=op.f('pk_outbox_head'))
    )
    op.create_table('redis_epoch',
    sa.Column('shard', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('epoch', sa.BigInteger(), nullable=False),
    sa.Column('incarnation', sa.String(length=128), nullable=True),
    sa.Column('mode', sa.String(length=10), nullable=False),
    sa.Column('cut', sa.DateTime(timezone=True), nullable=False),
    sa.Column('bumped_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("mode IN ('redis', 'rebuilding')", name=op.f('ck_redis_epoch_known_mode')),
    sa.PrimaryKeyConstraint('shard', name=op.f('pk_redis_epoch'))
    )
    op.create_table('relay_leases',
    sa.Column('shard', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('holder', sa.String(length=64), nullable=True),
    sa.Column('fence', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('shard', name=op.f('pk_relay_leases'))
    )
    op.create_table('booking_passengers',
    sa.Column('booking_id', sa.String(length=40, collation='C'), nullable=False),
    sa.Column('place', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('type', sa.String(length=3), nullable=False),
    sa.Column('given_name', sa.String(length=64), nullable=False),
    sa.Column('family_name', sa.String(length=64), nullable=False),
    sa.Column('family_name_folded', sa.String(length=256), nullable=False),
    sa.Column('born_on', sa.Date(), nullable=False),
    sa.ForeignKeyConstraint(['booking_id'], ['bookings.booking_id'], name=op.f('fk_booking_passengers_booking_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('booking_id', 'place', name=op.f('pk_booking_passengers'))
    )
    op.create_table('inventory',
    sa.Column('flight_id', sa.String(length=64, collation='C'), nullable=False),
    sa.Column('cabin', sa.String(length=16, collation='C'), nullable=False),
    sa.Column('rank', sa.Integer(), nullable=False),
    sa.Column('capacity', sa.Integer(), nullable=False),
    sa.Column('booking_classes', sa.ARRAY(sa.String(length=1)), nullable=False),
    sa.Column('fares', sa.ARRAY(sa.BigInteger()), nullable=False),
    sa.Column('currency', sa.String(length=3), nullable=False),
    sa.Column('limits', sa.ARRAY(sa.Integer()), nullable=False),
    sa.Column('ceilings', sa.ARRAY(sa.Integer()), nullable=False),
    sa.Column('sold', sa.ARRAY(sa.Integer()), nullable=False),
    sa.Column('sold_total', sa.Integer(), server_default='0', nullable=False),
    sa.Column('ceiling_total', sa.Integer(), nullable=False),
    sa.Column('version', sa.BigInteger(), server_default='1', nullable=False),
    sa.CheckConstraint('sold_total >= 0 AND sold_total <= ceiling_total', name=op.f('ck_inventory_no_oversell')),
    sa.ForeignKeyConstraint(['flight_id'], ['flights.flight_id'], name=op.f('fk_inventory_flight_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('flight_id', 'cabin', name=op.f('pk_inventory'))
    )


    op.execute(
        "INSERT INTO redis_epoch (shard, epoch, incarnation, mode, cut, bumped_at)"
        " VALUES (0, 0, NULL, 'rebuilding', 'epoch', now())"
    )
    op.execute("INSERT INTO epoch_gate (shard, closing_until) VALUES (0, 'epoch')")
    op.execute("INSERT INTO outbox_head (shard, last_position) VALUES (0, 0)")
    op.execute("INSERT INTO relay_leases (shard, holder, fence, expires_at) VALUES (0, NULL, 0, 'epoch')")


def downgrade() -> None:
    op.drop_table('inventory')
    op.drop_table('booking_passengers')
    op.drop_table('relay_leases')
    op.drop_table('redis_epoch')
    op.drop_table('outbox_head')
    op.drop_index('uq_outbox_sequence', table_name='outbox')
    op.drop_index('uq_outbox_position', table_name='outbox', postgresql_where=sa.text('position IS NOT NULL'))
    op.drop_index('ix_outbox_unpublished', table_name='outbox', postgresql_where=sa.text('position IS NOT NULL AND published_at IS NULL'))
    op.drop_index('ix_outbox_unnumbered', table_name='outbox', postgresql_where=sa.text('position IS NULL'))
    op.drop_index('ix_outbox_tenant', table_name='outbox')
    op.drop_table('outbox')
    op.drop_index('ix_idempotency_records_expires_at', table_name='idempotency_records')
    op.drop_table('idempotency_records')
    op.drop_index('ix_hold_journal_tenant_newest', table_name='hold_journal')
    op.drop_index('ix_hold_journal_held', table_name='hold_journal', postgresql_where=sa.text("state = 'HELD'"))
    op.drop_index('ix_hold_journal_ended_at', table_name='hold_journal', postgresql_where=sa.text('ended_at IS NOT NULL'))
    op.drop_index('ix_hold_journal_granted_at', table_name='hold_journal')
    op.drop_table('hold_journal')
    op.drop_index('ix_flights_market', table_name='flights')
    op.drop_table('flights')
    op.drop_table('epoch_gate')
    op.drop_index('uq_bookings_client_reference', table_name='bookings', postgresql_where=sa.text('client_reference IS NOT NULL'))
    op.drop_table('bookings')
