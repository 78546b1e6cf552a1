-- The sum of a flight's live holds, which `held` must equal.

local function count_live(prefix, flight, ids, counted, seen) -- into {cabin -> {position -> seats}}
  for _, id in ipairs(ids) do
    if not seen[id] then
      seen[id] = true
      local memo = redis.call('HMGET', prefix .. 'h:' .. id, 'state', 'lines')
      if memo[1] == 'HELD' or memo[1] == 'PINNED' then
        for _, line in ipairs(lines_of(memo[2])) do
          if line.flight == flight then
            local seats = counted[line.cabin] or {}
            counted[line.cabin] = seats
            seats[line.position] = (seats[line.position] or 0) + line.seats
          end
        end
      end
    end
  end
end

local function cabins_of(fields) -- the names, from a flight's own fields
  local names = {}
  for i = 1, #fields, 2 do
    local name = string.match(fields[i], '^([^:]+):version$')
    if name then
      names[#names + 1] = name
    end
  end
  return names
end

local function packed_like(classes, seats) -- '3,0,12', as long as the list beside it
  local list = {}
  for j = 1, #numbers(classes) do
    list[j] = seats and seats[j] or 0
  end
  return table.concat(list, ',')
end
