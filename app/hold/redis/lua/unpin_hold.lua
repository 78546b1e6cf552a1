-- Moves a hold from PINNED back to HELD, the only way to do so: with a fencing token that was raised in
-- the journal first. An equal token cannot distinguish two bookings, so it has no effect.
-- KEYS[1] epoch: the epoch check
-- KEYS[2] memo of this hold
-- KEYS[3] pinned: pinned holds, by the time they were pinned
-- ARGV[1] epoch
-- ARGV[2] hold_id
-- ARGV[3] prefix of this epoch's keys, for the hold's own flights
-- ARGV[4] fencing token, as raised
-- RETURNS hold_id and EPOCH | UNPINNED | UNCHANGED
-- TTL none
--@include frame
--@include holds

local hold_id, prefix = ARGV[2], ARGV[3]
if not is_current() then
  return { hold_id, 'EPOCH' }
end
local memo = redis.call('HMGET', KEYS[2], 'state', 'lines', 'expires_at', 'fence')
if memo[1] ~= 'PINNED' or tonumber(ARGV[4]) <= tonumber(memo[4]) then
  return { hold_id, 'UNCHANGED' }
end
redis.call('HSET', KEYS[2], 'state', 'HELD', 'fence', ARGV[4])
redis.call('ZREM', KEYS[3], hold_id)
schedule_expiry(prefix, memo[2], hold_id, tonumber(memo[3]))
return { hold_id, 'UNPINNED' }
