-- The books balance when each of these queries returns no row. Run after every integration test and by `faregate admin check`.

-- check: entries of every txn sum to zero
select txn_id::text as subject, sum(amount)::text as detail from entry group by txn_id having sum(amount) <> 0;

-- check: every txn has entries
select t.id::text as subject, t.kind as detail from txn t where not exists (select from entry e where e.txn_id = t.id);

-- check: every balance is the sum of its entries
select a.id as subject, a.balance || ' is not ' || coalesce(sum(e.amount), 0) as detail
from account a left join entry e on e.account_id = a.id
group by a.id having a.balance <> coalesce(sum(e.amount), 0);

-- check: no balance is below its floor
select id as subject, balance || ' is below ' || floor as detail from account where balance < floor;

-- check: the escrow of a closed lease is empty
select l.id as subject, a.balance::text as detail
from lease l join account a on a.id = l.id where l.state = 'closed' and a.balance <> 0;

-- check: what a lease was granted, less what came back, is what its grants and returns moved
select l.id as subject, l.granted || ' is not ' || coalesce(sum(e.amount), 0) as detail
from lease l
left join (entry e join txn t on t.id = e.txn_id and t.kind in ('grant', 'return')) on e.account_id = l.id
group by l.id having l.granted <> coalesce(sum(e.amount), 0);

-- check: settled charges are what left the escrow of their lease
select coalesce(c.lease_id, s.lease_id) as subject, coalesce(c.charged, 0) || ' is not ' || coalesce(s.spent, 0) as detail
from (
  select lease_id, sum(nanousd) as charged from (
    select lease_id, charged_nanousd as nanousd from call
    union all select account_id, nanousd from archived_sum where account_id not like 'op\_%'
  ) settled group by lease_id
) c
full join (
  select e.account_id as lease_id, -sum(e.amount) as spent
  from entry e join txn t on t.id = e.txn_id and t.kind = 'settle' join account a on a.id = e.account_id and a.kind = 'escrow'
  group by e.account_id
) s on s.lease_id = c.lease_id
where coalesce(c.charged, 0) <> coalesce(s.spent, 0);

-- check: no call is charged above its hold, no operator earns above the charge
select id::text as subject, charged_nanousd || ' of ' || held_nanousd as detail
from call where charged_nanousd > held_nanousd or operator_nanousd > charged_nanousd;

-- check: operators earned what their calls say
select coalesce(c.operator_id, s.operator_id) as subject, coalesce(c.earned, 0) || ' is not ' || coalesce(s.earned, 0) as detail
from (
  select operator_id, sum(nanousd) as earned from (
    select operator_id, operator_nanousd as nanousd from call where operator_id is not null
    union all select account_id, nanousd from archived_sum where account_id like 'op\_%'
  ) settled group by operator_id
) c
full join (
  select e.account_id as operator_id, sum(e.amount) as earned
  from entry e join txn t on t.id = e.txn_id and t.kind = 'settle' join account a on a.id = e.account_id and a.kind = 'earnings'
  group by e.account_id
) s on s.operator_id = c.operator_id
where coalesce(c.earned, 0) <> coalesce(s.earned, 0);

-- check: no call is refunded above its charge
select r.call_id::text as subject, sum(r.nanousd) || ' of ' || coalesce(max(c.charged_nanousd), 0) as detail
from refund r left join call c on c.id = r.call_id
where c.id is not null or not exists (select from archived_month m where r.call_id < m.ids_before)
group by r.call_id having sum(r.nanousd) > coalesce(max(c.charged_nanousd), 0);

-- check: refunds are what their transfers moved
select t.id::text as subject, coalesce(max(r.nanousd), 0) || ' is not ' || sum(e.amount) filter (where a.kind = 'prepaid') as detail
from txn t join entry e on e.txn_id = t.id join account a on a.id = e.account_id left join refund r on r.txn_id = t.id
where t.kind = 'refund' group by t.id
having coalesce(max(r.nanousd), 0) <> sum(e.amount) filter (where a.kind = 'prepaid')
  or coalesce(max(r.operator_nanousd), 0) <> coalesce(-sum(e.amount) filter (where a.kind = 'earnings'), 0);

-- check: what a budget has leased is what the escrows under it hold
select b.id as subject, b.leased || ' is not ' || coalesce(sum(held.balance), 0) as detail
from budget b left join (
  select unnest(l.budgets) as budget, a.balance from lease l join account a on a.id = l.id
) held on held.budget = b.id
group by b.id having b.leased <> coalesce(sum(held.balance), 0);

-- check: what a budget has spent in its last window is what the calls under it were charged
select b.id as subject, b.spent || ' is not ' || coalesce(sum(charged.nanousd), 0) as detail
from budget b left join (
  select unnest(l.budgets) as budget, c.charged_nanousd as nanousd, extract(epoch from c.settled_at) as at
  from lease l join call c on c.lease_id = l.id where l.budgets is not null
  union all
  select unnest(l.budgets), s.nanousd, null from lease l join archived_sum s on s.account_id = l.id where l.budgets is not null
) charged on charged.budget = b.id
  and (b.window_seconds is null or floor(charged.at / b.window_seconds) = b.window_index)
where not exists (
  select from archived_month m where extract(epoch from m.settled_until) >= b.window_index * b.window_seconds
)
group by b.id having b.spent <> coalesce(sum(charged.nanousd), 0);

-- check: the sums of each minute are those of its calls
select coalesce(c.account_id, u.account_id) as subject, coalesce(c.minute, u.minute) || ' ' || coalesce(c.model, u.model) as detail
from (
  select account_id, date_trunc('minute', settled_at) as minute, model, count(*) as calls, sum(prompt_tokens) as prompt,
    sum(cached_tokens) as cached, sum(completion_tokens) as completion, sum(billed_ms) as ms, sum(charged_nanousd) as charged
  from call group by 1, 2, 3
) c full join usage_minute u on (u.account_id, u.minute, u.model) = (c.account_id, c.minute, c.model)
where not exists (select from archived_month m where date_trunc('minute', m.settled_until) >= coalesce(c.minute, u.minute))
  and (u.calls, u.prompt_tokens, u.cached_tokens, u.completion_tokens, u.billed_ms, u.charged_nanousd)
  is distinct from (c.calls, c.prompt, c.cached, c.completion, c.ms, c.charged);

-- check: every settled payment is one deposit of its amount, and no other payment is
select coalesce(p.id, d.ref) as subject, coalesce(p.nanousd, 0) || ' is not ' || coalesce(d.amount, 0) as detail
from (select * from payment where state = 'settled') p
full join (
  select t.ref, e.amount, e.account_id from txn t join entry e on e.txn_id = t.id join account a on a.id = e.account_id and a.kind = 'prepaid'
  where t.kind = 'deposit' and t.ref like 'payment:%'
) d on d.ref = 'payment:' || p.id and d.account_id = p.account_id
where coalesce(p.nanousd, 0) <> coalesce(d.amount, 0);

-- check: no authorization is paid out twice
select min(id) as subject, count(*) || ' payments of one authorization' as detail
from payment where state = 'settled' group by network, asset, payer, nonce having count(*) > 1;

-- check: what is on its way out is what payouts are pending
select 'payout_pending' as subject, a.balance || ' is not ' || p.pending as detail
from account a, (select coalesce(sum(nanousd), 0) as pending from payout where state = 'pending') p
where a.id = 'payout_pending' and a.balance <> p.pending;

-- check: each payout left its account once, and then reached the world or came back, once, as its state says
select coalesce(p.id, m.id) as subject, coalesce(p.state || ' ' || p.nanousd, 'unknown') || ': out ' || coalesce(m.booked, 0)
  || ', paid ' || coalesce(m.paid, 0) || ', returned ' || coalesce(m.returned, 0) as detail
from payout p full join (
  select split_part(t.ref, ':', 2) as id, split_part(t.ref, ':', 1) as account_id,
    -sum(e.amount) filter (where t.kind in ('withdrawal', 'payout') and e.account_id = split_part(t.ref, ':', 1)) as booked,
    sum(e.amount) filter (where t.kind = 'payout_paid' and e.account_id = 'world') as paid,
    sum(e.amount) filter (where t.kind = 'payout_returned' and e.account_id = split_part(t.ref, ':', 1)) as returned
  from txn t join entry e on e.txn_id = t.id
  where t.kind in ('withdrawal', 'payout', 'payout_paid', 'payout_returned') group by 1, 2
) m on m.id = p.id and m.account_id = p.account_id
where (m.booked, coalesce(m.paid, 0), coalesce(m.returned, 0)) is distinct from (
  p.nanousd, case p.state when 'paid' then p.nanousd else 0 end, case p.state when 'returned' then p.nanousd else 0 end
);

-- check: what a channel was credited is what its vouchers brought into its account
select c.id as subject, c.credited_nanousd || ' is not ' || c.opened_nanousd + coalesce(sum(e.amount), 0) as detail
from channel c
left join (entry e join txn t on t.id = e.txn_id and t.ref like 'channel:%') on e.account_id = c.account_id
group by c.id having c.credited_nanousd <> c.opened_nanousd + coalesce(sum(e.amount), 0);

-- check: no channel is credited above its voucher, and none is claimed above what its calls were charged
select c.id as subject, 'credited ' || c.credited_nanousd || ', signed ' || c.signed_units || ', claimed ' || c.claimed_units as detail
from channel c, lateral (
  select c.credited_nanousd - coalesce(sum(a.balance), 0) as charged from account a where a.owner = c.account_id
) spent
where c.credited_nanousd > greatest(c.signed_units * 1000, c.opened_nanousd) or (c.claimed_units - 1) * 1000 >= greatest(spent.charged, 1);

-- check: what `upto` lent a payer's account is what its deposits moved, and its calls were charged no more than is accounted for
select p.id as subject, 'credited ' || p.credited_nanousd || ', spent ' || p.spent_nanousd || ', balance ' || coalesce(sum(a.balance), 0) as detail
from upto_payer p left join account a on a.owner = p.account_id
group by p.id
having p.credited_nanousd <> (
  select coalesce(sum(e.amount), 0) from entry e join txn t on t.id = e.txn_id and t.kind = 'deposit' and t.ref like 'upto:%'
  where e.account_id = p.account_id
) or p.credited_nanousd - coalesce(sum(a.balance), 0) > p.spent_nanousd + (
  select coalesce(sum(most_nanousd), 0) from upto_payment u where u.payer_id = p.id and u.state = 'open'
);

-- check: what a payer was charged by `upto` is the sum of its payments
select p.id as subject, p.spent_nanousd || ' is not ' || coalesce(sum(u.charged_nanousd), 0) as detail
from upto_payer p left join upto_payment u on u.payer_id = p.id
group by p.id having p.spent_nanousd <> coalesce(sum(u.charged_nanousd), 0);

-- check: what of `upto` was lost is our own loss, and nothing else of it
select u.id::text as subject, u.state as detail
from upto_payment u left join txn t on t.kind = 'credit_lost' and t.ref = 'upto:' || u.id
where (u.state = 'lost') <> (t.id is not null);
