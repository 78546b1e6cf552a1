-- What every script starts with: whose data is this, and what time is it.

local TOMBSTONE_MS = 15 * 60 * 1000 -- an ended hold is remembered so long; older retries ask the journal

local function is_current() -- the guard key names the epoch that this data is of
  return redis.call('GET', KEYS[1]) == ARGV[1]
end

local function read_clock(clock_key) -- microseconds; TIME once a script, and never behind a grant
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local ratchet = tonumber(redis.call('GET', clock_key) or '0')
  return math.max(now, ratchet)
end

local function whole(number) -- Lua would write a microsecond instant as 1.7e+15
  return string.format('%.0f', number)
end

local function numbers(packed) -- '3,0,12' -> {3, 0, 12}
  local list = {}
  for number in string.gmatch(packed, '%d+') do
    list[#list + 1] = tonumber(number)
  end
  return list
end
