-- Gives a live hold one more TTL, once; a repeated call returns the same time.
-- KEYS[1] epoch: the epoch check
-- KEYS[2] clock
-- KEYS[3] memo of this hold
-- ARGV[1] epoch
-- ARGV[2] hold_id
-- ARGV[3] prefix of this epoch's keys, for the hold's own flights
-- ARGV[4] ttl, microseconds
-- RETURNS hold_id and EPOCH | UNKNOWN | EXTENDED expires_at now | EXPIRED | its state
-- TTL none
--@include frame
--@include holds

local hold_id, prefix = ARGV[2], ARGV[3]
if not is_current() then
  return { hold_id, 'EPOCH' }
end
local now = read_clock(KEYS[2])
local memo = redis.call('HMGET', KEYS[3], 'state', 'lines', 'expires_at', 'extended')
if not memo[1] then
  return { hold_id, 'UNKNOWN' }
end
local expires_at = tonumber(memo[3])
if memo[1] ~= 'HELD' then
  return { hold_id, memo[1] }
end
if expires_at <= now then
  redis.call('SET', KEYS[2], whole(now)) -- the answer is final: a clock that is set back must not revive the hold
  return { hold_id, 'EXPIRED' }
end
if not memo[4] then
  expires_at = expires_at + tonumber(ARGV[4])
  redis.call('HSET', KEYS[3], 'expires_at', whole(expires_at), 'extended', 1)
  schedule_expiry(prefix, memo[2], hold_id, expires_at)
end
return { hold_id, 'EXTENDED', whole(expires_at), whole(now) }
