-- Writes a part of the live holds into an epoch that is being loaded: memos, or the sums that they add to
-- flights. A part that is sent again, or arrives late, has no effect.
-- KEYS[1] loading: the epoch check
-- KEYS[2] parts: the numbers of those that were written
-- ARGV[1] epoch
-- ARGV[2] prefix of this epoch's keys, for memos and flights
-- ARGV[3] number of the part
-- ARGV[4] one line for each memo: hold_id lines expires_at granted_at token extended request
-- ARGV[5..] of each class of a flight: flight_id, cabin, position, seats, the earliest expiry, how many
--   arguments follow, then expires_at and hold_id of each hold
-- RETURNS EPOCH | LOADED
-- TTL parts: TOMBSTONE_MS, longer than any call can be late
--@include frame
--@include holds

if not is_current() then
  return { 'EPOCH' }
end
if redis.call('SISMEMBER', KEYS[2], ARGV[3]) == 1 then
  return { 'LOADED' }
end

local prefix = ARGV[2]
local one_memo = '(%S+) (%S+) (%d+) (%d+) (%d+) (%d+) (%S*)'
for id, packed, expires_at, granted_at, token, extended, request in string.gmatch(ARGV[4], one_memo) do
  local memo = prefix .. 'h:' .. id
  redis.call(
    'HSET', memo, 'state', 'HELD', 'lines', packed, 'expires_at', expires_at,
    'granted_at', granted_at, 'fence', token, 'request', request
  )
  if extended ~= '0' then
    redis.call('HSET', memo, 'extended', 1)
  end
end

local at, due = 5, {}
while at < #ARGV do
  local flight, many = ARGV[at], tonumber(ARGV[at + 5])
  local seats = { [tonumber(ARGV[at + 2])] = tonumber(ARGV[at + 3]) }
  add_held(prefix .. 'f:' .. flight, ARGV[at + 1], seats)
  redis.call('ZADD', prefix .. 'x:' .. flight, unpack(ARGV, at + 6, at + 5 + many))
  due[#due + 1] = ARGV[at + 4]
  due[#due + 1] = flight
  at = at + 6 + many
end
if due[1] then
  redis.call('ZADD', prefix .. 'due', 'LT', unpack(due))
end
redis.call('SADD', KEYS[2], ARGV[3]) -- last, so that a part that failed in the middle is not recorded as written
redis.call('PEXPIRE', KEYS[2], TOMBSTONE_MS)
return { 'LOADED' }
