-- The journal has these holds as EXPIRED: no rebuild revives them, so their seats count no longer and
-- their memos become tombstones.
-- KEYS[1] epoch: the epoch check
-- KEYS[2] ended: expired holds, until the journal has them as EXPIRED
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
