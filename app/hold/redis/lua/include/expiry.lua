-- Expires holds: decided and done at one reading of the clock, KEYS[2], which is stored, so that a clock
-- that is set back cannot make the next grant look older than this end. The memo of an expired hold gets
-- no TTL here: if it vanished while the journal still has the hold as HELD, it would be granted anew.

local function expire(prefix, hold_id, now) -- false if the hold is not HELD
  local memo_key = prefix .. 'h:' .. hold_id
  local memo = redis.call('HMGET', memo_key, 'state', 'lines')
  if memo[1] ~= 'HELD' then
    return false
  end
  redis.call('HSET', memo_key, 'state', 'EXPIRED')
  redis.call('SET', KEYS[2], whole(now))
  redis.call('SADD', prefix .. 'ended', hold_id)
  release_seats(prefix, memo[2], hold_id)
  return true
end

local function expire_due(prefix, flight_id, now, most) -- how many of `most` were used
  local expiries = prefix .. 'x:' .. flight_id
  local ids = redis.call('ZRANGEBYSCORE', expiries, '-inf', whole(now), 'LIMIT', 0, most)
  for _, id in ipairs(ids) do
    if not expire(prefix, id, now) then
      redis.call('ZREM', expiries, id)
    end
  end
  return #ids
end
