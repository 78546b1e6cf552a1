-- Ends a hold as the journal says, and frees its seats. Leaves a tombstone even if the hold is unknown,
-- so that a late duplicate of its request is granted nothing; never undoes a sale.
-- KEYS[1] epoch or loading: the epoch check
-- KEYS[2] memo of this hold
-- KEYS[3] pinned: pinned holds, by the time they were pinned
-- ARGV[1] epoch
-- ARGV[2] hold_id
-- ARGV[3] prefix of this epoch's keys, for the hold's own flights
-- ARGV[4] state: RELEASED | EXPIRED | ABORTED
-- RETURNS hold_id and EPOCH | ENDED | SOLD
-- TTL memo: TOMBSTONE_MS
--@include frame
--@include holds

local hold_id, prefix = ARGV[2], ARGV[3]
if not is_current() then
  return { hold_id, 'EPOCH' }
end
local memo = redis.call('HMGET', KEYS[2], 'state', 'lines')
if memo[1] == 'SOLD' then
  return { hold_id, 'SOLD' }
end
redis.call('HSET', KEYS[2], 'state', ARGV[4])
redis.call('PEXPIRE', KEYS[2], TOMBSTONE_MS)
if memo[1] == 'HELD' or memo[1] == 'PINNED' then
  release_seats(prefix, memo[2], hold_id)
  redis.call('ZREM', KEYS[3], hold_id)
end
redis.call('HDEL', KEYS[2], 'lines') -- only holds in `ended` are asked for theirs
redis.call('SREM', prefix .. 'ended', hold_id)
return { hold_id, 'ENDED' }
