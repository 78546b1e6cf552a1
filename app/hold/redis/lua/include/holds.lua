-- The seats of a hold. Its flights are read from its memo, and their keys are built from the prefix.

local function lines_of(packed) -- 'flight|cabin|position|seats;...'
  local lines = {}
  for flight, cabin, position, seats in string.gmatch(packed, '([^|;]+)|([^|;]+)|(%d+)|(%d+)') do
    lines[#lines + 1] =
      { flight = flight, cabin = cabin, position = tonumber(position), seats = tonumber(seats) }
  end
  return lines
end

local function add_held(flight_key, cabin, seats) -- seats by position, of any sign
  local field = cabin .. ':held'
  local packed = redis.call('HGET', flight_key, field)
  if not packed then
    return
  end
  local held = numbers(packed)
  for position, count in pairs(seats) do
    held[position] = math.max(0, (held[position] or 0) + count)
  end
  redis.call('HSET', flight_key, field, table.concat(held, ','))
end

local function release_seats(prefix, packed, hold_id) -- and removes the hold from the index of expiry
  for _, line in ipairs(lines_of(packed)) do
    add_held(prefix .. 'f:' .. line.flight, line.cabin, { [line.position] = -line.seats })
    redis.call('ZREM', prefix .. 'x:' .. line.flight, hold_id)
  end
end

local function schedule_expiry(prefix, packed, hold_id, expires_at)
  for _, line in ipairs(lines_of(packed)) do
    redis.call('ZADD', prefix .. 'x:' .. line.flight, whole(expires_at), hold_id)
    redis.call('ZADD', prefix .. 'due', 'LT', whole(expires_at), line.flight)
  end
end
