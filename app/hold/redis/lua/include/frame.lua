-- What every script begins with: the epoch check, and the clock.

local TOMBSTONE_MS = 15 * 60 * 1000 -- an ended hold has a memo for so long; later retries ask the journal

local function is_current() -- KEYS[1] names the epoch of this data
  return redis.call('GET', KEYS[1]) == ARGV[1]
end

local function read_clock(clock_key) -- microseconds; TIME, read once in each script, and never before a grant
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
