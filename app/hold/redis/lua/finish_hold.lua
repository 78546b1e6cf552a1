-- The hold is sold: its seats leave `held` and stand in the inventory rows the sale returned.
-- Safe twice, and safe where the rows already count the sale, since a row is taken over by version.
-- KEYS[1] epoch or loading: guard
-- KEYS[2] memo of this hold
-- KEYS[3] pinned: holds by the time they were pinned
-- KEYS[4..] flight of each inventory row
-- ARGV[1] epoch
-- ARGV[2] hold_id
-- ARGV[3] prefix of the keys of this epoch, for the hold's own flights
-- ARGV[4..] of each inventory row: cabin, version, limits, sold, flight version
-- RETURNS hold_id and EPOCH | FINISHED
-- TTL memo: TOMBSTONE_MS
--@include frame
--@include holds
--@include inventory

local hold_id, prefix = ARGV[2], ARGV[3]
if not is_current() then
  return { hold_id, 'EPOCH' }
end
local memo = redis.call('HMGET', KEYS[2], 'state', 'lines')
redis.call('HSET', KEYS[2], 'state', 'SOLD')
redis.call('PEXPIRE', KEYS[2], TOMBSTONE_MS)
if memo[1] == 'HELD' or memo[1] == 'PINNED' then
  give_back(prefix, memo[2], hold_id)
  redis.call('ZREM', KEYS[3], hold_id)
  redis.call('HDEL', KEYS[2], 'lines') -- nobody asks what a sold hold held
end
for i = 4, #KEYS do
  local at = 4 + (i - 4) * 5
  take_over(KEYS[i], ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
end
return { hold_id, 'FINISHED' }
