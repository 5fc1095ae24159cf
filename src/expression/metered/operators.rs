//! jq's arithmetic on values, charged before it is done.

use jaq_core::ValR;
use jaq_json::{Map, Num, Rc, Val};

use super::{CONTAINER_BYTES, MEMBER_BYTES, Metered, charge_nesting, compare, copied, error, size};
use crate::expression::budget::{charge, scan, tick};
use crate::expression::value::kind;

/// An operator: its cost in bytes, then `Val`'s own, with an error that names types only.
macro_rules! operator {
    ($trait:ident, $method:ident, $symbol:literal, $compute:expr) => {
        impl std::ops::$trait for Metered {
            type Output = ValR<Self>;
            fn $method(self, other: Self) -> ValR<Self> {
                tick();
                let (l, r) = (kind(&self.0), kind(&other.0));
                let result: Result<Val, ()> = $compute(self.0, other.0);
                let say = |()| error(format_args!("cannot calculate {l} {} {r}", $symbol));
                result.map(Metered).map_err(say)
            }
        }
    };
}

operator!(Add, add, "+", |l: Val, r: Val| {
    charge(copied(&l) + size(&r));
    (l + r).map_err(drop)
});
operator!(Sub, sub, "-", subtract);
operator!(Mul, mul, "*", multiply);

fn subtract(l: Val, r: Val) -> Result<Val, ()> {
    charge(size(&l));
    let (Val::Arr(l), Val::Arr(r)) = (&l, &r) else {
        return (l - r).map_err(drop);
    };
    let mut without: Vec<&Val> = r.iter().collect();
    without.sort_by(|x, y| compare(x, y));
    let kept = l
        .iter()
        .filter(|item| without.binary_search_by(|x| compare(x, item)).is_err());
    Ok(kept.cloned().collect())
}

fn multiply(l: Val, r: Val) -> Result<Val, ()> {
    let repeated = |text: &[u8], n: &Num| match n {
        Num::Int(n) => text.len().saturating_mul(usize::try_from(*n).unwrap_or(0)),
        Num::BigInt(_) => usize::MAX,
        _ => text.len(),
    };
    match (l, r) {
        (Val::Obj(mut l), Val::Obj(r)) => {
            merge(&mut l, &r);
            Ok(Val::Obj(l))
        }
        // Multiplying digits takes time by the product of their numbers.
        (Val::Num(Num::BigInt(x)), Val::Num(Num::BigInt(y))) => {
            let bytes = |bits: u64| (bits / 8) as usize;
            charge(bytes(x.bits()) + bytes(y.bits()));
            scan(bytes(x.bits()).saturating_mul(bytes(y.bits())));
            (Val::Num(Num::BigInt(x)) * Val::Num(Num::BigInt(y))).map_err(drop)
        }
        (Val::TStr(text), Val::Num(n)) | (Val::Num(n), Val::TStr(text)) => {
            charge(repeated(&text, &n));
            // A fraction counts as the whole number above it, as in jq.
            let times = match jaq_std::ValT::as_f64(&Val::Num(n.clone())) {
                Some(f) if !matches!(n, Num::Int(_) | Num::BigInt(_)) => f.ceil() as isize,
                _ => Num::as_isize(&n).unwrap_or(isize::MAX),
            };
            charge(repeated(&text, &Num::Int(times)));
            (Val::TStr(text) * Val::from(times)).map_err(drop)
        }
        (l, r) => {
            charge(size(&l) + size(&r));
            (l * r).map_err(drop)
        }
    }
}

/// `l * r` of objects: members that are objects on both sides are merged themselves.
fn merge(l: &mut Rc<Map>, r: &Map) {
    charge(CONTAINER_BYTES + (l.len() + r.len()) * MEMBER_BYTES);
    let l = Rc::make_mut(l);
    for (key, value) in r {
        charge_nesting(value);
        match (l.get_mut(key), value) {
            (Some(Val::Obj(l)), Val::Obj(r)) => merge(l, r),
            (Some(l), r) => *l = r.clone(),
            (None, r) => drop(l.insert(key.clone(), r.clone())),
        }
    }
}

impl std::ops::Div for Metered {
    type Output = ValR<Self>;
    fn div(self, other: Self) -> ValR<Self> {
        tick();
        // Splitting a text makes a value of each part.
        charge(size(&self.0) * 17 + size(&other.0));
        if let (Val::Num(x), Val::Num(y)) = (&self.0, &other.0) {
            if jaq_std::ValT::as_f64(&other.0) == Some(0.0) {
                return Err(error("a number cannot be divided by zero"));
            }
            if let (Num::Int(x), Num::Int(y)) = (x, y)
                && x.checked_rem(*y) == Some(0)
            {
                return Ok(Self::from(x / y));
            }
        }
        let (l, r) = (kind(&self.0), kind(&other.0));
        let say = |_| error(format_args!("cannot calculate {l} / {r}"));
        (self.0 / other.0).map(Self).map_err(say)
    }
}

impl std::ops::Rem for Metered {
    type Output = ValR<Self>;
    fn rem(self, other: Self) -> ValR<Self> {
        tick();
        charge(size(&self.0) + size(&other.0));
        let (l, r) = (kind(&self.0), kind(&other.0));
        // jq takes the remainder of whole numbers.
        let whole = |value: &Val| match value {
            Val::Num(Num::Float(_) | Num::Dec(_)) => jaq_std::ValT::as_f64(value)
                .filter(|f| f.is_finite())
                .map(|f| f as isize),
            _ => None,
        };
        let x = whole(&self.0).map_or(self.0, Val::from);
        let y = whole(&other.0).map_or(other.0, Val::from);
        if let Val::Num(n) = &y
            && *n == Num::Int(0)
        {
            return Err(error("a number cannot be divided by zero"));
        }
        let say = |_| error(format_args!("cannot calculate {l} % {r}"));
        (x % y).map(Self).map_err(say)
    }
}

impl std::ops::Neg for Metered {
    type Output = ValR<Self>;
    fn neg(self) -> ValR<Self> {
        tick();
        charge(size(&self.0));
        let of = kind(&self.0);
        (-self.0)
            .map(Self)
            .map_err(|_| error(format_args!("a {of} cannot be negated")))
    }
}
