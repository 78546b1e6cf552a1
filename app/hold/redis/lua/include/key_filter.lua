-- The key filter, a Bloom filter with one hash: which idempotency keys were granted a hold in the last day.
-- One string of bits for each day. Keys may share a bit; once the filter is complete, a bit that is not set
-- proves that its key was granted nothing.

local DAY_US = 24 * 60 * 60 * 1000000
local KEPT_US = DAY_US + 60 * 60 * 1000000 -- as hold/journal/scans.py reads; one hour more, for clocks that move
local FORGOTTEN = { first = 3, last = 40 } -- days ago; a range, as a day without a grant clears nothing

local function granted_on(prefix, day)
  return prefix .. 'granted:' .. whole(day)
end

local function record_granted_keys(prefix, marks, now)
  local today = math.floor(now / DAY_US)
  local key = granted_on(prefix, today)
  if redis.call('EXISTS', key) == 0 then -- instead of a TTL: a server that evicts keys with a TTL would keep `all`
    for ago = FORGOTTEN.first, FORGOTTEN.last do
      redis.call('UNLINK', granted_on(prefix, today - ago))
    end
  end
  for _, mark in ipairs(marks) do
    redis.call('SETBIT', key, mark, 1)
  end
end

local function may_have_been_granted(prefix, mark, now)
  if redis.call('EXISTS', prefix .. 'granted:all') == 0 then -- the filter is not complete yet
    return true
  end
  for day = math.floor((now - KEPT_US) / DAY_US), math.floor(now / DAY_US) do
    if redis.call('GETBIT', granted_on(prefix, day), mark) == 1 then
      return true
    end
  end
  return false
end
