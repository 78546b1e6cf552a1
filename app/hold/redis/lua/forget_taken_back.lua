-- The journal was told that these ran out: no rebuild revives them, nobody counts their seats, and from
-- now on they may be forgotten.
-- KEYS[1] epoch: guard
-- KEYS[2] ended: holds taken back, until the journal says so too
-- KEYS[3..] memo of each hold
-- ARGV[1] epoch
-- ARGV[2..] hold_id of each hold
-- RETURNS EPOCH | FORGOTTEN
-- TTL memo: TOMBSTONE_MS
--@include frame

if not is_current() then
  return { 'EPOCH' }
end
for i = 3, #KEYS do
  redis.call('SREM', KEYS[2], ARGV[i - 1])
  if redis.call('HGET', KEYS[i], 'state') == 'EXPIRED' then
    redis.call('HDEL', KEYS[i], 'lines')
    redis.call('PEXPIRE', KEYS[i], TOMBSTONE_MS)
  end
end
return { 'FORGOTTEN' }
