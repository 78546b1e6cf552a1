-- Marks a hold as sold: its seats leave `held`, and the inventory rows that the sale returned count them.
-- May run twice, and after the rows already count the sale, since rows are applied by version.
-- KEYS[1] epoch or loading: the epoch check
-- KEYS[2] memo of this hold
-- KEYS[3] pinned: pinned holds, by the time they were pinned
-- KEYS[4..] flight of each inventory row
-- ARGV[1] epoch
-- ARGV[2] hold_id
-- ARGV[3] prefix of this epoch's keys, for the hold's own flights
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
  release_seats(prefix, memo[2], hold_id)
  redis.call('ZREM', KEYS[3], hold_id)
  redis.call('HDEL', KEYS[2], 'lines') -- the rows count them now
end
for i = 4, #KEYS do
  local at = 4 + (i - 4) * 5
  apply_row(KEYS[i], ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
end
return { hold_id, 'FINISHED' }
