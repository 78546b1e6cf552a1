-- Keeps holds off a flight whose terms are about to change, unless seats of it are held.
-- KEYS[1] epoch: guard
-- KEYS[2] clock
-- KEYS[3] flight
-- ARGV[1] epoch
-- ARGV[2] flight_id
-- ARGV[3] prefix of the keys of this epoch, for the holds that are taken back
-- ARGV[4] the fence falls by itself after so many microseconds
-- ARGV[5] most holds to take back in one call
-- ARGV[6] name of the fence: who put it up lifts it, and nobody else
-- RETURNS EPOCH | FENCED | IN_USE | AGAIN
--@include frame
--@include holds
--@include expiry

if not is_current() then
  return { 'EPOCH' }
end
local now = read_clock(KEYS[2])
local most = tonumber(ARGV[5])
local used = take_back_expired(ARGV[3], ARGV[2], now, most)
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
return { 'FENCED' }
