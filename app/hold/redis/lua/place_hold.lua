-- Grants every line of one hold, or none; a repeated call with the same id returns what became of it.
-- KEYS[1] epoch: the epoch check
-- KEYS[2] clock
-- KEYS[3] memo of this hold
-- KEYS[4] fresh: holds by their grant, until their journal rows were seen
-- KEYS[5..] flight of each line
-- ARGV[1] epoch
-- ARGV[2] hold_id
-- ARGV[3] prefix of this epoch's keys, for the holds that expire
-- ARGV[4] ttl, microseconds
-- ARGV[5] most holds to expire in one call
-- ARGV[6] request: digest of the request
-- ARGV[7] bit of the idempotency key in the key filter
-- ARGV[8] lines, packed as they are stored
-- ARGV[9..] flight version of each line
-- RETURNS hold_id and EPOCH | MEMO state expires_at granted_at request | GRANTED expires_at granted_at
--   | FULL MARKED or NEW, next_release_at or '', then open seats of each line | AGAIN | STALE | BLOCKED
-- TTL none: a live hold never ends by the age of its key; the script that ends it sets TOMBSTONE_MS
--@include frame
--@include nesting
--@include holds
--@include expiry
--@include key_filter

local hold_id, prefix = ARGV[2], ARGV[3]
if not is_current() then
  return { hold_id, 'EPOCH' }
end
local now = read_clock(KEYS[2])

local memo = redis.call('HMGET', KEYS[3], 'state', 'expires_at', 'granted_at', 'request')
if memo[1] then
  local state = memo[1]
  if state == 'HELD' and tonumber(memo[2]) <= now then
    state = 'EXPIRED'
  end
  return { hold_id, 'MEMO', state, memo[2] or '', memo[3] or '', memo[4] or '' }
end

local lines = lines_of(ARGV[8])
for i, line in ipairs(lines) do
  line.key = KEYS[4 + i]
  local flight = redis.call('HMGET', line.key, 'version', 'fenced_until')
  if flight[1] ~= ARGV[8 + i] then
    return { hold_id, 'STALE' }
  end
  if flight[2] and tonumber(flight[2]) > now then
    return { hold_id, 'BLOCKED' }
  end
end

local may_expire = tonumber(ARGV[5])
for _, line in ipairs(lines) do
  if may_expire > 0 then
    may_expire = may_expire - expire_due(prefix, line.flight, now, may_expire)
  end
end

local cabins, answer, is_full, next_release = {}, {}, false, 0
for _, line in ipairs(lines) do -- demand adds up where two lines meet in a cabin
  local name = line.flight .. '|' .. line.cabin
  local cabin = cabins[name]
  if not cabin then
    local packed = redis.call(
      'HMGET', line.key, line.cabin .. ':limits', line.cabin .. ':sold', line.cabin .. ':held'
    )
    if not packed[1] then
      return { hold_id, 'STALE' }
    end
    cabin = { limits = numbers(packed[1]), sold = numbers(packed[2]), held = numbers(packed[3]) }
    cabin.key, cabin.field = line.key, line.cabin .. ':held'
    cabins[name] = cabin
  end
  local open = open_seats(cabin.limits, cabin.sold, cabin.held)[line.position]
  answer[#answer + 1] = open
  if open < line.seats then
    is_full = true
    local first = redis.call('ZRANGE', prefix .. 'x:' .. line.flight, 0, 0, 'WITHSCORES')
    if first[2] and open_seats(cabin.limits, cabin.sold)[line.position] >= line.seats then
      next_release = math.max(next_release, tonumber(first[2]))
    else
      next_release = math.huge -- sold or pinned: the time of its release is unknown
    end
  end
  cabin.held[line.position] = cabin.held[line.position] + line.seats
end
if is_full then
  if may_expire <= 0 then
    return { hold_id, 'AGAIN' } -- more holds may have expired than were looked at
  end
  local at = next_release < math.huge and whole(next_release) or ''
  local key = may_have_been_granted(prefix, ARGV[7], now) and 'MARKED' or 'NEW'
  return { hold_id, 'FULL', key, at, unpack(answer) }
end

-- in whole milliseconds, so that the instant in the answer is exactly the instant stored
local granted_at = math.floor(now / 1000) * 1000
local expires_at = granted_at + tonumber(ARGV[4])
record_granted_keys(prefix, { ARGV[7] }, now) -- first: this write may run out of memory
redis.call(
  'HSET', KEYS[3], 'state', 'HELD', 'lines', ARGV[8], 'expires_at', whole(expires_at),
  'granted_at', whole(granted_at), 'fence', 1, 'request', ARGV[6]
)
redis.call('SET', KEYS[2], whole(now))
redis.call('ZADD', KEYS[4], whole(now), hold_id)
for _, cabin in pairs(cabins) do
  redis.call('HSET', cabin.key, cabin.field, table.concat(cabin.held, ','))
end
schedule_expiry(prefix, ARGV[8], hold_id, expires_at)
return { hold_id, 'GRANTED', whole(expires_at), whole(granted_at) }
