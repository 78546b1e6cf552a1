-- The only way from PINNED back to HELD: with a fence that was raised in the journal first.
-- An equal fence cannot tell two bookings apart, so it moves nothing.
-- KEYS[1] epoch: guard
-- KEYS[2] memo of this hold
-- KEYS[3] pinned: holds by the time they were pinned
-- ARGV[1] epoch
-- ARGV[2] hold_id
-- ARGV[3] prefix of the keys of this epoch, for the hold's own flights
-- ARGV[4] fence as raised
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
await_expiry(prefix, memo[2], hold_id, tonumber(memo[3]))
return { hold_id, 'UNPINNED' }
