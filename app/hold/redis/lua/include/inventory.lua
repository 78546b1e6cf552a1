-- Applies a cabin's row of Postgres, iff it is newer than the row here.

local function apply_row(flight_key, cabin, version, limits, sold, flight_version)
  local kept = redis.call('HMGET', flight_key, cabin .. ':version', cabin .. ':held', 'version')
  if not kept[1] or tonumber(version) > tonumber(kept[1]) then
    local held = kept[2] and numbers(kept[2]) or {}
    if #held ~= #numbers(limits) then -- another layout, which is set only while nothing is held
      for j = 1, #numbers(limits) do
        held[j] = 0
      end
      held[#numbers(limits) + 1] = nil
    end
    redis.call(
      'HSET', flight_key, cabin .. ':version', version, cabin .. ':limits', limits,
      cabin .. ':sold', sold, cabin .. ':held', table.concat(held, ',', 1, #numbers(limits))
    )
  end
  if not kept[3] or tonumber(flight_version) > tonumber(kept[3]) then
    redis.call('HSET', flight_key, 'version', flight_version)
  end
end
