//! The labelled topics and their words. No content word belongs to two topics, so a word names its
//! topic.

/// The words of one topic. Nouns are singular and verbs in their base form; `crate::inflect` makes
/// the others.
#[derive(Debug, PartialEq, Eq)]
pub struct Topic {
    /// The label, itself an English word or two.
    pub name: &'static str,
    /// Nouns for people.
    pub persons: &'static [&'static str],
    /// Nouns for things and animals.
    pub things: &'static [&'static str],
    /// Nouns for places.
    pub places: &'static [&'static str],
    /// Verbs that take an object.
    pub transitive: &'static [&'static str],
    /// Verbs that take none.
    pub intransitive: &'static [&'static str],
    pub adjectives: &'static [&'static str],
}

/// Splits a list of words at compile time is not possible in plain Rust, so the table spells slices
/// out.
macro_rules! topic {
    ($name:literal, persons: [$($p:literal)*], things: [$($t:literal)*], places: [$($l:literal)*],
     transitive: [$($vt:literal)*], intransitive: [$($vi:literal)*], adjectives: [$($a:literal)*]) => {
        Topic {
            name: $name,
            persons: &[$($p),*],
            things: &[$($t),*],
            places: &[$($l),*],
            transitive: &[$($vt),*],
            intransitive: &[$($vi),*],
            adjectives: &[$($a),*],
        }
    };
}

/// The twelve topics, in a fixed order that document seeds depend on.
pub const TOPICS: &[Topic] = &[
    topic!("sea",
        persons: ["sailor" "captain" "pirate" "diver" "mermaid" "admiral" "rower" "lifeguard"],
        things: ["ship" "boat" "anchor" "net" "shell" "wave" "whale" "shark" "dolphin" "crab" "oar" "mast" "sail"
            "lobster" "pearl" "raft" "harpoon" "seal" "canoe" "buoy" "octopus" "ferry"],
        places: ["harbor" "beach" "island" "reef" "bay" "dock" "lagoon"],
        transitive: ["haul" "steer" "launch" "tow" "moor" "hoist" "unload" "salvage" "chart" "retrieve"],
        intransitive: ["float" "dive" "drift" "splash" "paddle" "surf"],
        adjectives: ["salty" "sandy" "foamy" "tidal" "coastal" "marine" "sunken" "briny" "nautical" "seafaring"]),
    topic!("kitchen",
        persons: ["chef" "baker" "waiter" "butcher" "grocer" "brewer" "diner" "caterer"],
        things: ["cake" "soup" "pan" "pot" "spoon" "plate" "bowl" "oven" "pie" "onion" "potato" "fork" "kettle"
            "sauce" "sandwich" "pancake" "cookie" "noodle" "omelet" "muffin" "ladle" "dumpling"],
        places: ["kitchen" "bakery" "restaurant" "pantry" "cafe" "canteen" "cellar"],
        transitive: ["bake" "fry" "boil" "roast" "stir" "taste" "slice" "serve" "grill" "chop"],
        intransitive: ["simmer" "feast" "dine" "sizzle" "snack" "bubble"],
        adjectives: ["tasty" "sweet" "spicy" "crispy" "creamy" "delicious" "buttery" "juicy" "savory" "sugary"]),
    topic!("garden",
        persons: ["gardener" "florist" "beekeeper" "botanist" "landscaper" "herbalist" "arborist" "groundskeeper"],
        things: ["rose" "flower" "seed" "tulip" "lily" "daisy" "vine" "bee" "butterfly" "hedge" "rake" "spade" "hose"
            "fountain" "petal" "shrub" "orchid" "blossom" "root" "weed" "trowel" "sprinkler"],
        places: ["garden" "greenhouse" "lawn" "patio" "terrace" "nursery" "pergola"],
        transitive: ["plant" "water" "prune" "trim" "pluck" "uproot" "cultivate" "fertilize" "transplant" "mulch"],
        intransitive: ["bloom" "sprout" "wilt" "buzz" "flourish" "germinate"],
        adjectives: ["leafy" "fragrant" "floral" "thorny" "mossy" "lush" "shady" "flowery" "fertile" "overgrown"]),
    topic!("music",
        persons: ["singer" "drummer" "pianist" "violinist" "guitarist" "composer" "conductor" "dancer"],
        things: ["song" "piano" "guitar" "drum" "violin" "flute" "trumpet" "melody" "tune" "chord" "harp" "cello"
            "symphony" "rhythm" "banjo" "ballad" "chorus" "anthem" "lullaby" "clarinet" "microphone" "tambourine"],
        places: ["stage" "theater" "studio" "ballroom" "auditorium" "bandstand" "conservatory"],
        transitive: ["perform" "rehearse" "compose" "strum" "hum" "conduct" "memorize" "harmonize" "amplify"
            "improvise"],
        intransitive: ["dance" "applaud" "chant" "whistle" "sway" "croon"],
        adjectives: ["musical" "loud" "melodic" "jazzy" "rhythmic" "acoustic" "tuneful" "lyrical" "harmonious"
            "orchestral"]),
    topic!("space",
        persons: ["astronaut" "alien" "pilot" "astronomer" "cosmonaut" "physicist" "stargazer" "navigator"],
        things: ["rocket" "planet" "star" "moon" "comet" "telescope" "satellite" "spaceship" "galaxy" "meteor"
            "asteroid" "orbit" "crater" "rover" "capsule" "spacesuit" "shuttle" "probe" "nebula" "eclipse"
            "thruster" "constellation"],
        places: ["observatory" "launchpad" "planetarium" "spaceport" "universe" "cosmos" "airlock"],
        transitive: ["explore" "observe" "discover" "track" "detect" "ignite" "magnify" "colonize" "pinpoint"
            "calibrate"],
        intransitive: ["hover" "rotate" "accelerate" "descend" "twinkle" "levitate"],
        adjectives: ["cosmic" "lunar" "solar" "starry" "stellar" "weightless" "galactic" "airless" "celestial"
            "interstellar"]),
    topic!("medicine",
        persons: ["doctor" "nurse" "patient" "surgeon" "dentist" "medic" "pharmacist" "paramedic"],
        things: ["pill" "bandage" "needle" "fever" "wound" "tablet" "vaccine" "syringe" "thermometer" "headache"
            "infection" "ointment" "ambulance" "crutch" "wheelchair" "stretcher" "injection" "symptom" "splint"
            "scalpel" "prescription" "stethoscope"],
        places: ["hospital" "clinic" "ward" "pharmacy" "laboratory" "infirmary" "sickroom"],
        transitive: ["treat" "cure" "examine" "diagnose" "inject" "prescribe" "monitor" "sterilize" "vaccinate"
            "disinfect"],
        intransitive: ["recover" "cough" "sneeze" "faint" "limp" "ache"],
        adjectives: ["sick" "healthy" "feverish" "dizzy" "painful" "sore" "medical" "swollen" "contagious"
            "surgical"]),
    topic!("sport",
        persons: ["player" "coach" "goalkeeper" "referee" "striker" "defender" "athlete" "winger"],
        things: ["ball" "goal" "team" "match" "trophy" "medal" "league" "jersey" "scoreboard" "penalty" "tournament"
            "racket" "hurdle" "sneaker" "goalpost" "kickoff" "pennant" "mascot" "javelin" "relay" "rematch"
            "championship"],
        places: ["stadium" "gym" "arena" "pitch" "playground" "racetrack" "clubhouse"],
        transitive: ["kick" "pass" "tackle" "block" "defend" "dribble" "bounce" "dodge" "juggle" "intercept"],
        intransitive: ["sprint" "cheer" "jog" "exercise" "compete" "stretch"],
        adjectives: ["fast" "athletic" "sporty" "sweaty" "speedy" "victorious" "competitive" "muscular" "defensive"
            "undefeated"]),
    topic!("farm",
        persons: ["farmer" "shepherd" "cowboy" "rancher" "milkmaid" "farmhand" "miller" "harvester"],
        things: ["cow" "horse" "pig" "hen" "goat" "tractor" "egg" "lamb" "chicken" "duck" "fence" "donkey" "plow"
            "haystack" "rooster" "pumpkin" "turkey" "piglet" "crop" "saddle" "turnip" "scarecrow"],
        places: ["farm" "barn" "field" "meadow" "stable" "orchard" "pasture"],
        transitive: ["milk" "harvest" "herd" "groom" "fatten" "reap" "tether" "thresh" "yoke" "shoo"],
        intransitive: ["graze" "gallop" "trot" "moo" "bleat" "waddle"],
        adjectives: ["muddy" "woolly" "rural" "ripe" "grassy" "plump" "rustic" "feathered" "domestic"
            "agricultural"]),
    topic!("weather",
        persons: ["forecaster" "skier" "skater" "mountaineer" "meteorologist" "reporter" "climatologist"
            "stormchaser"],
        things: ["storm" "cloud" "rainbow" "umbrella" "snowflake" "raindrop" "puddle" "breeze" "tornado" "hurricane"
            "blizzard" "icicle" "snowball" "raincoat" "thunderstorm" "flood" "gust" "avalanche" "barometer"
            "hailstone" "downpour" "cyclone"],
        places: ["sky" "hillside" "summit" "horizon" "glacier" "skyline" "tundra"],
        transitive: ["predict" "soak" "melt" "drench" "chill" "scatter" "endure" "batter" "shovel" "dampen"],
        intransitive: ["rain" "snow" "shiver" "thunder" "drizzle" "hail"],
        adjectives: ["rainy" "windy" "cloudy" "snowy" "stormy" "icy" "foggy" "frosty" "misty" "humid"]),
    topic!("castle",
        persons: ["king" "queen" "knight" "prince" "wizard" "jester" "squire" "baron"],
        things: ["sword" "crown" "dragon" "shield" "throne" "lance" "banner" "torch" "spear" "scroll" "potion"
            "dagger" "catapult" "crossbow" "cannon" "goblet" "scepter" "chalice" "tapestry" "gauntlet" "drawbridge"
            "siege"],
        places: ["castle" "palace" "tower" "kingdom" "dungeon" "fortress" "moat"],
        transitive: ["guard" "conquer" "rescue" "forge" "banish" "enchant" "plunder" "besiege" "imprison" "behead"],
        intransitive: ["bow" "march" "duel" "rebel" "reign" "surrender"],
        adjectives: ["royal" "noble" "brave" "loyal" "medieval" "gallant" "armored" "majestic" "regal"
            "legendary"]),
    topic!("railway",
        persons: ["passenger" "driver" "porter" "inspector" "engineer" "traveler" "commuter" "stationmaster"],
        things: ["train" "ticket" "wagon" "engine" "carriage" "suitcase" "locomotive" "signal" "rail" "timetable"
            "tram" "boiler" "railcar" "trolley" "caboose" "buffer" "piston" "sleeper" "turnstile" "throttle"
            "handbrake" "compartment"],
        places: ["station" "platform" "tunnel" "depot" "junction" "railyard" "viaduct"],
        transitive: ["board" "delay" "inspect" "dispatch" "reserve" "stamp" "schedule" "reroute" "shunt" "derail"],
        intransitive: ["depart" "arrive" "rumble" "screech" "commute" "chug"],
        adjectives: ["crowded" "express" "punctual" "electric" "sooty" "hourly" "overnight" "nonstop" "outbound"
            "mechanical"]),
    topic!("painting",
        persons: ["painter" "artist" "sculptor" "collector" "curator" "potter" "illustrator" "engraver"],
        things: ["canvas" "brush" "portrait" "statue" "pencil" "sketch" "palette" "easel" "mural" "crayon"
            "sculpture" "vase" "mosaic" "pigment" "masterpiece" "drawing" "stencil" "chisel" "collage" "pastel"
            "fresco" "watercolor"],
        places: ["gallery" "museum" "workshop" "exhibition" "academy" "showroom" "atelier"],
        transitive: ["paint" "carve" "decorate" "restore" "sculpt" "exhibit" "varnish" "illustrate" "mold"
            "engrave"],
        intransitive: ["pose" "doodle" "scribble" "daydream" "squint" "experiment"],
        adjectives: ["colorful" "artistic" "vivid" "abstract" "glossy" "creative" "decorative" "ornate" "pictorial"
            "monochrome"]),
];

/// Finds a topic by its label.
#[must_use]
pub fn topic(name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|t| t.name == name)
}

/// The labels of all topics, in table order.
#[must_use]
pub fn topic_names() -> Vec<&'static str> {
    TOPICS.iter().map(|t| t.name).collect()
}
