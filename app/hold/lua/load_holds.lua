-- Writes live holds of the journal into an epoch that is being loaded; one that is here is left alone.
-- What they add to a flight is written once a flight: there are very many holds.
-- KEYS[1] loading: guard
-- KEYS[2..] memo of each hold
-- ARGV[1] epoch
-- ARGV[2] prefix of the keys of this epoch, for the holds' own flights
-- ARGV[3..] of each hold, parted by blanks: hold_id lines expires_at granted_at fence extended request
-- RETURNS EPOCH | LOADED
-- TTL none
--@include frame
--@include holds

if not is_current() then
  return { 'EPOCH' }
end
local prefix, cabins, waiting, first = ARGV[2], {}, {}, {}
for i = 2, #KEYS do
  local id, packed, expires_at, granted_at, fence, extended, request =
    string.match(ARGV[i + 1], '^(%S+) (%S+) (%d+) (%d+) (%d+) (%d+) (%S*)$')
  if redis.call('EXISTS', KEYS[i]) == 0 then
    redis.call(
      'HSET', KEYS[i], 'state', 'HELD', 'lines', packed, 'expires_at', expires_at,
      'granted_at', granted_at, 'fence', fence, 'request', request
    )
    if extended ~= '0' then
      redis.call('HSET', KEYS[i], 'extended', 1)
    end
    for _, line in ipairs(lines_of(packed)) do
      local flight, cabin, position = line.flight, line.cabin, line.position
      local of_flight = cabins[flight]
      if not of_flight then
        of_flight = {}
        cabins[flight], waiting[flight], first[flight] = of_flight, {}, expires_at
      end
      local seats = of_flight[cabin] or {}
      of_flight[cabin] = seats
      seats[position] = (seats[position] or 0) + line.seats
      local waits = waiting[flight]
      waits[#waits + 1] = expires_at
      waits[#waits + 1] = id
      if tonumber(expires_at) < tonumber(first[flight]) then
        first[flight] = expires_at
      end
    end
  end
end

local due = {}
for flight, of_flight in pairs(cabins) do
  for cabin, seats in pairs(of_flight) do
    add_held(prefix .. 'f:' .. flight, cabin, seats)
  end
  redis.call('ZADD', prefix .. 'x:' .. flight, unpack(waiting[flight]))
  due[#due + 1] = first[flight]
  due[#due + 1] = flight
end
if due[1] then
  redis.call('ZADD', prefix .. 'due', 'LT', unpack(due))
end
return { 'LOADED' }
