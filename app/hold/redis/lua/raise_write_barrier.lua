-- Raises a write barrier: no hold is granted on the flight while its terms change. Refused while seats of
-- it are held. Replaces an earlier barrier, which its own name then no longer lifts.
-- KEYS[1] epoch: the epoch check
-- KEYS[2] clock
-- KEYS[3] flight
-- ARGV[1] epoch
-- ARGV[2] flight_id
-- ARGV[3] prefix of this epoch's keys, for the holds that expire
-- ARGV[4] how long the barrier lasts if nothing lifts it, microseconds
-- ARGV[5] most holds to expire in one call
-- ARGV[6] name of the barrier: only an apply_inventory that gives the same name lifts it
-- RETURNS EPOCH | BLOCKED | IN_USE | AGAIN
--@include frame
--@include holds
--@include expiry

if not is_current() then
  return { 'EPOCH' }
end
local now = read_clock(KEYS[2])
local most = tonumber(ARGV[5])
local used = expire_due(ARGV[3], ARGV[2], now, most)
local fields = redis.call('HGETALL', KEYS[3])
for i = 1, #fields, 2 do
  if string.sub(fields[i], -5) == ':held' then
    for _, seats in ipairs(numbers(fields[i + 1])) do
      if seats > 0 then
        return { used < most and 'IN_USE' or 'AGAIN' }
      end
    end
  end
end
redis.call(
  'HSET', KEYS[3], 'fenced_until', whole(now + tonumber(ARGV[4])), 'fenced_by', ARGV[6]
)
return { 'BLOCKED' }
