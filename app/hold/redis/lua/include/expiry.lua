-- Takes back what has run out: decided and done at one reading of the clock, KEYS[2], which then never
-- runs behind it. Else a clock that is put back would let the next grant look older than this end.
-- What is taken back does not age: forgotten while the journal still has it HELD, it would be granted anew.

local function take_back(prefix, hold_id, now) -- false where the hold is out of expiry's reach
  local memo_key = prefix .. 'h:' .. hold_id
  local memo = redis.call('HMGET', memo_key, 'state', 'lines')
  if memo[1] ~= 'HELD' then
    return false
  end
  redis.call('HSET', memo_key, 'state', 'EXPIRED')
  redis.call('SET', KEYS[2], whole(now))
  redis.call('SADD', prefix .. 'ended', hold_id)
  give_back(prefix, memo[2], hold_id)
  return true
end

local function take_back_expired(prefix, flight_id, now, most) -- how many of `most` were used
  local expiries = prefix .. 'x:' .. flight_id
  local ids = redis.call('ZRANGEBYSCORE', expiries, '-inf', whole(now), 'LIMIT', 0, most)
  for _, id in ipairs(ids) do
    if not take_back(prefix, id, now) then
      redis.call('ZREM', expiries, id)
    end
  end
  return #ids
end
