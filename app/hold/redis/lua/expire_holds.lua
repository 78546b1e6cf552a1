-- Expires holds on all flights, oldest first, so that the numbers shown are at most one pass late.
-- KEYS[1] epoch: the epoch check
-- KEYS[2] clock
-- KEYS[3] due: flights by their earliest expiry
-- ARGV[1] epoch
-- ARGV[2] prefix of this epoch's keys, for the holds that expire
-- ARGV[3] most holds to expire in one call
-- RETURNS EPOCH | EXPIRED how many were looked at
--@include frame
--@include holds
--@include expiry

if not is_current() then
  return { 'EPOCH' }
end
local now = read_clock(KEYS[2])
local prefix, left = ARGV[2], tonumber(ARGV[3])
local flights = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', whole(now), 'LIMIT', 0, left)
for _, flight in ipairs(flights) do
  if left > 0 then
    left = left - math.max(1, expire_due(prefix, flight, now, left))
    local first = redis.call('ZRANGE', prefix .. 'x:' .. flight, 0, 0, 'WITHSCORES')
    if first[2] then
      redis.call('ZADD', KEYS[3], first[2], flight)
    else
      redis.call('ZREM', KEYS[3], flight)
    end
  end
end
return { 'EXPIRED', tonumber(ARGV[3]) - left }
