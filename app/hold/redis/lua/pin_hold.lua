-- Puts a live hold out of reach of expiry for the booking it is about to become. Repeatable.
-- KEYS[1] epoch: the epoch check
-- KEYS[2] clock
-- KEYS[3] memo of this hold
-- KEYS[4] pinned: pinned holds, by the time they were pinned
-- ARGV[1] epoch
-- ARGV[2] hold_id
-- ARGV[3] prefix of this epoch's keys, for the hold's own flights
-- RETURNS hold_id and EPOCH | UNKNOWN | PINNED token | EXPIRED | its state
-- TTL none
--@include frame
--@include holds
--@include expiry

local hold_id, prefix = ARGV[2], ARGV[3]
if not is_current() then
  return { hold_id, 'EPOCH' }
end
local now = read_clock(KEYS[2])
local memo = redis.call('HMGET', KEYS[3], 'state', 'lines', 'expires_at', 'fence')
if not memo[1] then
  return { hold_id, 'UNKNOWN' }
end
if memo[1] == 'HELD' then
  if tonumber(memo[3]) <= now then
    expire(prefix, hold_id, now)
    return { hold_id, 'EXPIRED' }
  end
  redis.call('HSET', KEYS[3], 'state', 'PINNED')
  redis.call('ZADD', KEYS[4], whole(now), hold_id)
  for _, line in ipairs(lines_of(memo[2])) do
    redis.call('ZREM', prefix .. 'x:' .. line.flight, hold_id)
  end
elseif memo[1] ~= 'PINNED' then
  return { hold_id, memo[1] }
end
return { hold_id, 'PINNED', memo[4] }
