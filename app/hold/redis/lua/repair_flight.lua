-- Repairs a flight: its rows become those of Postgres, and `held` the sum of its live holds. Puts the live
-- holds given back into the indexes of expiry and of the resolver; ends none.
-- KEYS[1] epoch: the epoch check
-- KEYS[2] clock
-- KEYS[3] pinned: pinned holds, by the time they were pinned
-- KEYS[4] flight
-- ARGV[1] epoch
-- ARGV[2] flight_id
-- ARGV[3] prefix of this epoch's keys, for the flight's holds
-- ARGV[4] most holds to count
-- ARGV[5] how many inventory rows follow
-- ARGV[6..] of each row: cabin, version, limits, sold, flight version; then hold_ids
-- RETURNS EPOCH | REPAIRED | TOO_MANY
-- TTL none
--@include frame
--@include holds
--@include counting
--@include inventory

if not is_current() then
  return { 'EPOCH' }
end
local now, flight, prefix, rows = read_clock(KEYS[2]), ARGV[2], ARGV[3], tonumber(ARGV[5])
local expiries, most = prefix .. 'x:' .. flight, tonumber(ARGV[4])
if redis.call('ZCARD', expiries) + redis.call('ZCARD', KEYS[3]) > most then
  return { 'TOO_MANY' }
end
for i = 6 + rows * 5, #ARGV do
  local memo = redis.call('HMGET', prefix .. 'h:' .. ARGV[i], 'state', 'lines', 'expires_at')
  if memo[1] == 'HELD' then
    schedule_expiry(prefix, memo[2], ARGV[i], tonumber(memo[3]))
  elseif memo[1] == 'PINNED' then
    redis.call('ZADD', KEYS[3], 'NX', whole(now), ARGV[i])
  end
end
for row = 0, rows - 1 do
  local at = 6 + row * 5
  local cabin, version = ARGV[at], ARGV[at + 1]
  if redis.call('HGET', KEYS[4], cabin .. ':version') == version then -- the same version: Postgres is right
    redis.call('HSET', KEYS[4], cabin .. ':limits', ARGV[at + 2], cabin .. ':sold', ARGV[at + 3])
  end
  apply_row(KEYS[4], cabin, version, ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
end
local counted, seen = {}, {}
count_live(prefix, flight, redis.call('ZRANGE', expiries, 0, -1), counted, seen)
count_live(prefix, flight, redis.call('ZRANGE', KEYS[3], 0, -1), counted, seen)
for _, name in ipairs(cabins_of(redis.call('HGETALL', KEYS[4]))) do
  local limits = redis.call('HGET', KEYS[4], name .. ':limits')
  redis.call('HSET', KEYS[4], name .. ':held', packed_like(limits, counted[name]))
end
return { 'REPAIRED' }
